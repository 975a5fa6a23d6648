import type { JSX } from "preact";
import { Icon } from "../../ui/Icon.tsx";
import { t } from "../i18n/t.ts";
import { size } from "../render/dates.ts";
import { Html, Plain } from "../render/Rich.tsx";
import { original } from "../sdk/media.ts";
import type { Body, Message } from "../sdk/types.ts";
import type { Actions } from "./Message.tsx";

type MediaBodyData = Extract<Body, { media: unknown }>;

export function Caption({ body, actions }: { body: MediaBodyData; actions: Actions }): JSX.Element | null {
    if (!body.caption) return null;
    return <div class="cap">{body.html ? <Html html={body.html} context={actions.context} /> : <span class="plain"><Plain text={body.caption} context={actions.context} /></span>}</div>;
}

/** A file with its name and size. */
export function MediaBody({ body, actions }: { body: MediaBodyData; message: Message; actions: Actions }): JSX.Element {
    const { media } = body;
    const href = original(media.url, media.name);
    const kind = media.name.includes(".") ? (media.name.split(".").pop() ?? "").toUpperCase().slice(0, 8) : media.type;
    const about = [kind, media.size ? size(media.size) : ""].filter(Boolean).join(" · ");
    return (
        <>
            <div class="file">
                <span class="ic"><Icon name="file-text" /></span>
                <span class="grow"><b class="cut">{media.name}</b><span class="small mut">{about}</span></span>
                {href && <a class="ib" href={href} download={media.name} aria-label={t("media.download", { name: media.name, size: media.size ? size(media.size) : "" })}><Icon name="download" /></a>}
            </div>
            <Caption body={body} actions={actions} />
        </>
    );
}
