import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { authed } from "../api.ts";
import { bytes, sealing, type Sealed } from "../files.ts";
import { given } from "../given.ts";
import { t } from "../i18n/t.ts";
import { plain } from "../timeline.ts";
import { Icon, later } from "./parts.tsx";

const Large = later((rare) => rare.Large);
const MOST = 25 * 1024 * 1024;
/** What may be shown; everything else is only ever saved. */
const SHOWN: Record<string, RegExp> = {
    "m.image": /^image\/(png|jpeg|gif|webp|avif)$/,
    "m.video": /^video\/(mp4|webm|ogg|quicktime)$/,
    "m.audio": /^audio\/(mpeg|mp4|ogg|webm|wav|aac|flac)$/,
};
const kept = new Map<string, Promise<string>>();

interface Info {
    mimetype?: string;
    size?: number;
    w?: number;
    h?: number;
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

const addressOf = (mxc: string, thumbnail: boolean): string | null => {
    const match = /^mxc:\/\/([^/]+)\/([A-Za-z0-9_-]+)$/.exec(mxc);
    if (!match) return null;
    const path = `${encodeURIComponent(match[1] ?? "")}/${match[2] ?? ""}`;
    return thumbnail ? `/_matrix/client/v1/media/thumbnail/${path}?width=640&height=640&method=scale` : `/_matrix/client/v1/media/download/${path}`;
};

/** Media as an address of this page; as a type that cannot run. */
function load(address: string, type: string, sealed?: Sealed): Promise<string> {
    const key = `${address} ${type}`;
    let found = kept.get(key);
    if (!found) {
        found = authed(address).then(async (response) => {
            if (!response.ok) throw new Error(`media ${response.status}`);
            let data = await response.arrayBuffer();
            if (sealed) {
                if (!sealing.device) throw new Error("no keys");
                data = sealing.device.unseal(new Uint8Array(data), sealed).slice().buffer;
            }
            return URL.createObjectURL(new Blob([data], { type }));
        });
        found.catch(() => kept.delete(key));
        kept.set(key, found);
    }
    return found;
}

export function Media({ content }: { content: Record<string, unknown> }): JSX.Element {
    const info = (content.info ?? {}) as Info;
    const kind = String(content.msgtype);
    const mime = String(info.mimetype ?? "");
    const sealed = content.file as (Sealed & { url?: unknown }) | undefined;
    const url = textOf(sealed ? sealed.url : content.url);
    const name = plain(content.filename) || plain(content.body);
    const isImage = kind === "m.image";
    // Films play while they come, by the cookie; where the browser has none for us, or they are sealed, all comes first.
    const [whole, read] = useState(isImage || Boolean(sealed));
    const shown = Boolean(SHOWN[kind]?.test(mime)) && (!whole || (info.size ?? 0) <= MOST);
    const small = isImage && !sealed && (info.size ?? 0) > 200_000 && mime !== "image/gif";
    const address = addressOf(url, small);
    const [source, set] = useState("");
    const [failed, fail] = useState(false);
    const [tries, again] = useState(0);
    const [large, enlarge] = useState("");
    const place = useRef<HTMLDivElement>(null);
    useEffect(() => {
        if (!shown || !address || !place.current) return undefined;
        const seen = new IntersectionObserver((entries) => {
            if (!entries.some((entry) => entry.isIntersecting)) return;
            seen.disconnect();
            if (whole) load(address, small ? "image/png" : mime, sealed).then(set, () => fail(true));
            else set(`${address}?chat.hromada.site=${given.site}`);
        });
        seen.observe(place.current);
        return () => seen.disconnect();
    }, [address, tries, whole]);
    const broken = (): void => (whole ? fail(true) : (set(""), read(true)));
    const save = async (): Promise<void> => {
        const whole = addressOf(url, false);
        if (!whole) return;
        const link = document.createElement("a");
        try {
            link.href = await load(whole, "application/octet-stream", sealed);
        } catch {
            return fail(true);
        }
        link.download = name || t("file");
        link.click();
    };
    if (failed)
        return (
            <button type="button" class="bub doc broken" onClick={() => (fail(false), again((n) => n + 1))}>
                <Icon name="circle-alert" />
                <span>
                    <bdi>{name || t("file")}</bdi>
                    <small>
                        {t("broken")} {t("retry")}
                    </small>
                </span>
            </button>
        );
    if (!shown || !address)
        return (
            <button type="button" class="bub doc" onClick={() => void save()}>
                <Icon name="file" />
                <span>
                    <bdi>{name || t("file")}</bdi>
                    <small>{info.size ? bytes(info.size) : t("download")}</small>
                </span>
                <Icon name="download" />
            </button>
        );
    const ratio = info.w && info.h ? { aspectRatio: `${info.w} / ${info.h}` } : {};
    return (
        <div class="bub pic" ref={place}>
            {isImage ? (
                <button type="button" class="img" style={ratio} aria-label={`${t("enlarge")}: ${name}`} onClick={() => void load(addressOf(url, false) ?? "", mime, sealed).then(enlarge, () => fail(true))}>
                    {source && <img src={source} alt={name} onError={() => fail(true)} />}
                </button>
            ) : kind === "m.video" ? (
                <video key={whole} src={source || undefined} controls preload="metadata" style={ratio} aria-label={name} onError={broken} />
            ) : (
                <audio key={whole} src={source || undefined} controls aria-label={name} onError={broken} />
            )}
            {large && <Large source={large} name={name} close={() => enlarge("")} save={() => void save()} />}
        </div>
    );
}
