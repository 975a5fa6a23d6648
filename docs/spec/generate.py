"""Make `operations.tsv` and `anchors.txt` from a checkout of the Matrix specification.

    python docs/spec/generate.py PATH_TO_SPECIFICATION

The folder must hold `content/`, `data/` and `openapi/openapi-{client-server,server-server,application-service}.json`.
The two files let the architecture tests check routes and `spec:` references without the specification at hand.
Anchors follow the rules of the published site: headings are slugged as GitHub does and numbered when they repeat within
a page; endpoints, events and definitions carry the identifiers that the site's templates give them.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
APIS = {
    "client-server": "client-server-api",
    "server-server": "server-server-api",
    "application-service": "application-service-api",
}
# Published without an OpenAPI bundle: only their anchors are wanted, and the YAML sources give those.
YAML_APIS = {"push-gateway": "push-gateway-api", "identity": "identity-service-api"}

FENCE = re.compile(r"^\s*(```|~~~)")
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(?P<text>.*?)\s*#*\s*$")
HEADING_ID = re.compile(r"\s*\{\s*(?:id=\"?(?P<id>[^\"}\s]+)\"?|#(?P<hash>[^}\s]+))[^}]*\}\s*$")
HTML_ID = re.compile(r"<[a-z][^>]*\bid=\"([^\"]+)\"")
SHORTCODE = re.compile(r"\{\{[%<]\s*(?P<name>[\w/-]+)(?P<args>[^}]*?)[%>]\}\}")
ARGUMENT = re.compile(r"(\w+)=\"([^\"]*)\"")
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
TITLE = re.compile(r"^title:\s*[\"']?(.+?)[\"']?\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Operation:
    """One operation of the specification's OpenAPI description."""

    api: str
    method: str
    path: str
    operation_id: str
    anchor: str
    flags: tuple[str, ...]

    def row(self) -> str:
        """The operation as a line of `operations.tsv`."""
        flags = ",".join(self.flags) or "-"
        return "\t".join((self.api, self.method, self.path, self.operation_id, self.anchor, flags))


def slug(text: str) -> str:
    """`text` as the specification's site slugs it: lower case, spaces to hyphens, other punctuation dropped."""
    kept = (c for c in text.strip().lower() if c.isalnum() or c in "-_ ")
    return "".join(kept).replace(" ", "-")


def flags_of(operation: dict[str, Any]) -> tuple[str, ...]:
    """Authentication (`auth`, `optional-auth`, `signed`), `rate-limited`, `deprecated`, `added-VERSION`."""
    schemes = [name for choice in operation.get("security", []) for name in choice or ("",)]
    flags = []
    if "signedRequest" in schemes:
        flags.append("signed")
    elif "" in schemes:
        flags.append("optional-auth")
    elif schemes:
        flags.append("auth")
    if "429" in operation.get("responses", {}):
        flags.append("rate-limited")
    if operation.get("deprecated"):
        flags.append("deprecated")
    if added := operation.get("x-addedInMatrixVersion"):
        flags.append(f"added-{added}")
    return tuple(flags)


def nested_titles(schema: Any, depth: int = 0) -> Iterator[str]:
    """Titles of the object schemas inside `schema`: the site gives each its own table and anchor."""
    if isinstance(schema, list):
        for item in schema:
            yield from nested_titles(item, depth)
    elif isinstance(schema, dict):
        title = schema.get("title")
        if depth and isinstance(title, str):
            yield title
        for key, value in schema.items():
            if key not in ("example", "examples", "description"):
                yield from nested_titles(value, depth + 1)


def schema_anchors(anchor: str, operation: dict[str, Any]) -> Iterator[str]:
    """Anchors of the request and response tables below an endpoint."""
    for media in operation.get("requestBody", {}).get("content", {}).values():
        for title in nested_titles(media.get("schema")):
            yield f"{anchor}_request_{slug(title)}"
    for status, response in operation.get("responses", {}).items():
        for media in response.get("content", {}).values():
            for title in nested_titles(media.get("schema")):
                yield f"{anchor}_response-{status}_{slug(title)}"


class Specification:
    """Reads one checkout of the specification."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.content = root / "content"
        self.anchor_bases = dict(self._anchor_bases())

    def _anchor_bases(self) -> Iterator[tuple[str, str]]:
        """operationId → prefix of its anchor, for endpoints that the site documents twice."""
        for page in self.content.rglob("*.md"):
            for shortcode in SHORTCODE.finditer(page.read_text()):
                arguments = dict(ARGUMENT.findall(shortcode["args"]))
                if shortcode["name"] == "http-api" and "anchor_base" in arguments:
                    source = self.root / "data/api" / arguments["spec"] / f"{arguments['api']}.yaml"
                    for operation_id in re.findall(r"operationId:\s*(\w+)", source.read_text()):
                        yield operation_id, arguments["anchor_base"] + "_"

    def operations(self) -> Iterator[tuple[Operation, dict[str, Any]]]:
        """Every operation of the OpenAPI files, with its description as parsed."""
        for api in APIS:
            bundle = json.loads((self.root / f"openapi/openapi-{api}.json").read_text())
            for path, item in bundle["paths"].items():
                for method in METHODS:
                    if (operation := item.get(method)) is not None:
                        operation_id = operation["operationId"]
                        anchor = self.anchor_bases.get(operation_id, "") + slug(method + path.strip())
                        found = Operation(api, method.upper(), path.strip(), operation_id, anchor, flags_of(operation))
                        yield found, operation

    def anchors(self) -> Iterator[str]:
        """Every document and `document#anchor` that a reference may name."""
        for operation, description in self.operations():
            yield f"{APIS[operation.api]}#{operation.anchor}"
            for anchor in schema_anchors(operation.anchor, description):
                yield f"{APIS[operation.api]}#{anchor}"
        for api, document in YAML_APIS.items():
            for anchor in self._yaml_endpoints(self.root / "data/api" / api):
                yield f"{document}#{anchor}"
        for document, page in self._documents():
            yield document
            for anchor in PageAnchors(self).of(page):
                yield f"{document}#{anchor}"
        for folder in ("proposals", "proposals-open"):
            for proposal in (self.root / folder).glob("[0-9]*.md"):
                yield f"proposals/{proposal.stem}"

    def _documents(self) -> Iterator[tuple[str, Path]]:
        for page in self.content.rglob("*.md"):
            name = page.relative_to(self.content).with_suffix("").as_posix().removesuffix("/_index")
            if not re.search(r"^_index$|changelog|/modules/|/fragments/", name):
                yield name, page

    @staticmethod
    def _yaml_endpoints(folder: Path) -> Iterator[str]:
        for source in folder.glob("*.yaml"):
            text = source.read_text()
            base = re.search(r"basePath:\s*\n\s+default:\s*(\S+)", text)
            path = ""
            for line in text.splitlines():
                if found := re.match(r"  [\"']?(/[^\"':]*)[\"']?:\s*$", line):
                    path = found[1]
                elif path and (found := re.match(rf"    ({'|'.join(METHODS)}):\s*$", line)):
                    yield slug(found[1] + (base[1] if base else "") + path)


class PageAnchors:
    """Collects the anchors of one published page; repeated headings count over the page with all it includes."""

    def __init__(self, specification: Specification) -> None:
        self._spec = specification
        self._data = specification.root / "data"
        self._seen: Counter[str] = Counter()

    def of(self, page: Path) -> Iterator[str]:
        """The anchors of `page`, in the order of the text."""
        fenced = False
        for line in page.read_text().splitlines():
            if FENCE.match(line):
                fenced = not fenced
            if fenced:
                continue
            if heading := HEADING.match(line):
                yield self._heading(heading["text"])
            yield from HTML_ID.findall(line)
            for shortcode in SHORTCODE.finditer(line):
                yield from self._shortcode(page, shortcode["name"], dict(ARGUMENT.findall(shortcode["args"])))

    def _heading(self, text: str) -> str:
        if given := HEADING_ID.search(text):
            return given["id"] or given["hash"]
        anchor = slug(LINK.sub(r"\1", SHORTCODE.sub("", text)))
        self._seen[anchor] += 1
        repeats = self._seen[anchor] - 1
        return f"{anchor}-{repeats}" if repeats else anchor

    def _shortcode(self, page: Path, name: str, arguments: dict[str, str]) -> Iterator[str]:
        schemas = self._data / "event-schemas/schema"
        if name == "cs-module":
            yield self._heading(arguments["name"])
            yield from self.of(self._spec.content / "client-server-api/modules" / f"{arguments['filename']}.md")
        elif name == "rver-fragment":
            yield from self.of(self._spec.content / "rooms/fragments" / f"{arguments['name']}.md")
        elif name == "definition":
            source = (self._data / f"{arguments['path']}.yaml").read_text()
            title = TITLE.search(source)
            yield f"definition-{slug(title[1] if title else Path(arguments['path']).name)}"
        elif name == "event":
            yield slug(arguments["event"])
        elif name == "event-group":
            yield from (slug(s.stem) for s in schemas.glob(f"{arguments['group_name']}*.yaml"))
        elif name == "msgtypes":
            yield from (slug(s.stem.split("$")[1]) for s in schemas.glob("m.room.message$*.yaml"))


def write(path: Path, header: str, lines: list[str]) -> None:
    """Write `lines` below `header` and say so."""
    path.write_text("\n".join([header, *lines]) + "\n")
    sys.stdout.write(f"{path.name}: {len(lines)} lines\n")


def main(arguments: list[str]) -> int:
    """Write both files beside this script; the exit status."""
    if len(arguments) != 1 or not (Path(arguments[0]) / "openapi").is_dir():
        sys.stderr.write("usage: python docs/spec/generate.py PATH_TO_SPECIFICATION\n")
        return 2
    specification = Specification(Path(arguments[0]))
    operations = sorted(operation.row() for operation, _ in specification.operations())
    write(HERE / "operations.tsv", "api\tmethod\tpath\toperationId\tanchor\tflags", operations)
    write(HERE / "anchors.txt", "# Made by docs/spec/generate.py; do not edit.", sorted(set(specification.anchors())))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
