"""The worker process: reads one order after the other from standard input and answers on standard output.

An order is a line of JSON; an answer is a line of JSON, and as many bytes as it says. Decoders are where hostile files
strike, so this runs with limits on memory, time, files and processes, and imports nothing of the server.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
import warnings
from contextlib import suppress
from typing import Any

from PIL import Image, ImageCms, ImageFile, ImageSequence

Size = tuple[int, int]

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset((5, 6, 7, 8))
_PLAIN = frozenset(("RGB", "RGBA", "L", "LA"))
_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp", "HEIF": "image/heic"}
_MOST_FILES = 16
_LEAST_FRAME_MS = 20
_USUAL_FRAME_MS = 100


class Refused(Exception):
    """The picture is not worked on."""


class TooLarge(Refused):
    """Too many pixels."""


def main() -> None:
    """Serve until standard input ends."""
    limits = json.loads(sys.argv[1])
    _confine(limits)
    Image.MAX_IMAGE_PIXELS = limits["pixels"]
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    warnings.filterwarnings("ignore", module="PIL.TiffImagePlugin")
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    if "AVIF" not in limits["formats"]:
        Image.preinit()
    if "HEIF" in limits["formats"]:
        _learn_heif()
    for line in sys.stdin.buffer:
        _allow_cpu(limits["seconds"])
        answer, data = _answer(json.loads(line), limits)
        sys.stdout.buffer.write(json.dumps({**answer, "length": len(data)}).encode() + b"\n" + data)
        sys.stdout.buffer.flush()


def _learn_heif() -> None:
    import pillow_heif  # noqa: PLC0415 - only where it is wanted

    pillow_heif.options.DECODE_THREADS = 1
    pillow_heif.options.THUMBNAILS = False
    pillow_heif.register_heif_opener()


def _confine(limits: dict[str, Any]) -> None:
    """Everything that can be taken away for good; CPU time is given for each order anew."""
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_AS, (limits["memory"],) * 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MOST_FILES,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _allow_cpu(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _answer(order: dict[str, Any], limits: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    try:
        with open(order["path"], "rb") as file:
            return _picture(file, order, limits)
    except (TooLarge, Image.DecompressionBombWarning, Image.DecompressionBombError):
        return {"refused": "too large"}, b""
    except MemoryError:
        return {"refused": "needs too much memory"}, b""
    except Refused as reason:
        return {"refused": str(reason)}, b""
    # Whatever a decoder raises on a hostile file, it is about the file.
    except Exception as error:
        return {"refused": f"cannot be read ({type(error).__name__})"}, b""


def _picture(file: Any, order: dict[str, Any], limits: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    if file.read(16)[12:] == b"CgBI":  # PNG of iPhone programs: its pixels are not what Pillow takes them for
        raise Refused("is no PNG")
    file.seek(0)
    image = Image.open(file, formats=limits["formats"])
    if image.width < 1 or image.height < 1:
        raise Refused("has no size")
    if image.width * image.height > limits["pixels"]:
        raise TooLarge
    if order.get("look"):
        turned = _orientation(image) in _SIDEWAYS
        size = (image.height, image.width) if turned else image.size
        type_ = _TYPES.get(image.format or "", f"image/{(image.format or 'x').lower()}")
        image.draft(None, (64, 64))
        image.load()
        return {"type": type_, "width": size[0], "height": size[1]}, b""
    wanted: Size = (order["width"], order["height"])
    crop: bool = order["crop"]
    is_moving = _is_animated(image)
    if order["animated"] and is_moving:
        moving = _moving(image, wanted, crop=crop, limits=limits)
        if moving is not None:
            return {"type": "image/webp"}, moving
        image.seek(0)
    is_plain = not is_moving and _is_plain(image)
    small = _smaller(image, wanted, crop=crop)
    if small is image and is_plain:
        return {"original": True}, b""
    return _encoded(small)


def _is_animated(image: Image.Image) -> bool:
    """MPO files hold further pictures, but are no animation."""
    return image.format in ("GIF", "WEBP", "PNG", "AVIF") and getattr(image, "n_frames", 1) > 1


def _is_plain(image: Image.Image) -> bool:
    """Whether the file itself may stand for its thumbnail: nothing in it but a picture that every browser shows."""
    return (
        image.format in ("JPEG", "PNG", "WEBP")
        and image.mode in _PLAIN
        and not {"exif", "icc_profile", "xmp", "comment", "Comment"} & set(image.info)
        and not getattr(image, "text", None)
    )


def _smaller(image: Image.Image, wanted: Size, *, crop: bool) -> Image.Image:
    """The first frame, decoded, upright, in sRGB, no larger than it has to be."""
    orientation = _orientation(image)
    box: Size = (wanted[1], wanted[0]) if orientation in _SIDEWAYS else wanted
    profile = image.info.get("icc_profile")
    target = _target(image.size, box, crop=crop)
    if image.format == "JPEG":
        image.draft(None, (target[0] * 2, target[1] * 2))
    image.load()
    result = _eight_bits(image)
    if target != result.size:
        result = _resized(result, target)
    if crop:
        result = _cropped(result, box)
    result = _in_srgb(result, profile)
    return result if orientation not in _TURNS else result.transpose(_TURNS[orientation])


def _resized(image: Image.Image, target: Size) -> Image.Image:
    if image.mode in ("LA", "RGBA"):  # or the colour of transparent pixels bleeds into the others
        premultiplied = image.convert("RGBA").convert("RGBa")
        return premultiplied.resize(target, Image.Resampling.LANCZOS, reducing_gap=2.0).convert("RGBA")
    return image.resize(target, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _target(size: Size, box: Size, *, crop: bool) -> Size:
    """The size to scale to: when cropping it covers the box, else it fits into it; never larger than it is.

    spec: client-server-api#thumbnails
    """
    ratios = (box[0] / size[0], box[1] / size[1])
    ratio = min(1.0, max(ratios) if crop else min(ratios))
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def _cropped(image: Image.Image, box: Size) -> Image.Image:
    width, height = min(image.width, box[0]), min(image.height, box[1])
    if (width, height) == image.size:
        return image
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # bad metadata must not cost the picture
        return 1


def _eight_bits(image: Image.Image) -> Image.Image:
    """The picture in a mode that can be scaled and written: L, LA, RGB, RGBA or CMYK."""
    if image.mode.startswith("I") or image.mode == "F":
        wide = image.convert("F")
        highest = wide.getextrema()[1]
        scale = 1.0 if isinstance(highest, (int, float)) and highest <= 255 else 1 / 256
        return wide.point(lambda value: value * scale).convert("L")
    if image.mode == "P" or "transparency" in image.info:
        transparent = "transparency" in image.info or getattr(image.palette, "mode", "") == "RGBA"
        return image.convert("RGBA" if transparent else "RGB")
    if image.mode in (*_PLAIN, "CMYK"):
        return image
    return image.convert({"1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB"}.get(image.mode, "RGB"))


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    mode = "RGBA" if image.mode in ("LA", "RGBA") else "RGB"
    if profile and image.mode in ("RGB", "CMYK"):
        with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
    return image if image.mode in _PLAIN else image.convert(mode)


def _encoded(image: Image.Image) -> tuple[dict[str, Any], bytes]:
    clean = image.copy()
    clean.info.clear()
    out = io.BytesIO()
    if image.mode in ("LA", "RGBA"):
        clean.save(out, "PNG", compress_level=6)
        return {"type": "image/png"}, out.getvalue()
    clean.save(out, "JPEG", quality=82, progressive=True)
    return {"type": "image/jpeg"}, out.getvalue()


def _moving(image: Image.Image, wanted: Size, *, crop: bool, limits: dict[str, Any]) -> bytes | None:
    """The animation as WebP; None if it has too many frames, or one that cannot be read."""
    count = getattr(image, "n_frames", 1)
    if count > limits["frames"] or count * image.width * image.height > limits["pixels"] * 8:
        return None
    frames: list[Image.Image] = []
    durations: list[int] = []
    loop = image.info.get("loop", 1 if image.format == "GIF" else 0)
    size = image.size
    try:
        for frame in ImageSequence.Iterator(image):
            if frame.size != size:
                return None
            frames.append(_smaller(frame.copy(), wanted, crop=crop).convert("RGBA"))
            duration = frame.info.get("duration", _USUAL_FRAME_MS)
            durations.append(max(_LEAST_FRAME_MS, int(duration)) if duration else _USUAL_FRAME_MS)
    except (OSError, SyntaxError, EOFError):
        if len(frames) < 2:
            return None
    out = io.BytesIO()
    frames[0].save(
        out, "WEBP", save_all=True, append_images=frames[1:], duration=durations, loop=loop, quality=75, method=2
    )
    return out.getvalue()


if __name__ == "__main__":
    main()
