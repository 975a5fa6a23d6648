// Confirming a device by its code: one screen shows it, the other's camera reads it. The code is bytes, not text, and a
// browser's own BarcodeDetector gives text alone: so the picture is read here.

import encodeQR from "qr";
import decodeQR from "qr/decode.js";
import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { IconButton } from "../../ui/controls.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { t } from "../i18n/t.ts";
import type { Check } from "../sdk/crypto.ts";
import { attempt } from "../stores/app.ts";
import { theCrypto } from "../stores/crypto.ts";
import "../parts/asked.ts";

const LOOK_MS = 200;
const WIDEST = 640;
const bytesOf = (text: string): Uint8ClampedArray => Uint8ClampedArray.from(text, (sign) => sign.charCodeAt(0));
const textOf = (bytes: Uint8Array): string => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");

/** The code, dark on white in every theme, since not every reader knows it the other way round. */
function Code({ bytes }: { bytes: Uint8ClampedArray }): JSX.Element {
    const { size, path } = useMemo(() => {
        const rows = encodeQR(" ", "raw", { ecc: "medium", encoding: "byte", border: 4, textEncoder: () => new Uint8Array(bytes) });
        const dots = rows.flatMap((row, y) => row.flatMap((dark, x) => (dark ? [`M${x} ${y}h1v1h-1z`] : [])));
        return { size: rows.length, path: dots.join("") };
    }, [bytes]);
    return <svg class="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={t("verify.code-alt")} shape-rendering="crispEdges"><path d={path} /></svg>;
}

/** What the camera sees, read a few times a second until there is a code in it. */
function Camera(): JSX.Element {
    const video = useRef<HTMLVideoElement>(null);
    const [problem, setProblem] = useState<"denied" | "wrong">();
    useEffect(() => {
        let stream: MediaStream | undefined, timer: ReturnType<typeof setTimeout> | undefined, gone = false;
        const canvas = document.createElement("canvas");
        const look = (): void => {
            const shown = video.current, context = canvas.getContext("2d", { willReadFrequently: true });
            if (gone || !shown || !context) return;
            let found = "";
            if (shown.videoWidth > 0) {
                const scale = Math.min(1, WIDEST / shown.videoWidth);
                canvas.width = Math.round(shown.videoWidth * scale);
                canvas.height = Math.round(shown.videoHeight * scale);
                context.drawImage(shown, 0, 0, canvas.width, canvas.height);
                try {
                    found = decodeQR(context.getImageData(0, 0, canvas.width, canvas.height), { textDecoder: textOf });
                } catch {
                    // no code in this picture
                }
            }
            const again = (): void => void (timer = setTimeout(look, LOOK_MS));
            if (!found) return again();
            theCrypto()?.scanned(bytesOf(found)).catch(() => {
                setProblem("wrong");
                again();
            });
        };
        navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }).then(
            (given) => {
                stream = given;
                if (gone || !video.current) return given.getTracks().forEach((track) => track.stop());
                video.current.srcObject = given;
                look();
            },
            () => setProblem("denied"),
        );
        return () => {
            gone = true;
            clearTimeout(timer);
            stream?.getTracks().forEach((track) => track.stop());
        };
    }, []);
    return (
        <>
            {problem !== "denied" && <video class="qr" ref={video} autoplay muted playsInline aria-label={t("verify.camera-text")} />}
            {problem && <p class="hint bad" role="alert"><Icon name="circle-alert" /><span>{t(`verify.camera-${problem}`)}</span></p>}
        </>
    );
}

/** Both devices are there: scan, be scanned, or compare emoji. */
export function ByCode({ check, onClose }: { check: Check; onClose: () => void }): JSX.Element {
    const [camera, setCamera] = useState(check.code === undefined);
    const machine = theCrypto();
    return (
        <>
            <div class="row top"><div class="grow"><h1 class="h2">{t(camera ? "verify.camera" : "verify.code")}</h1><p class="mut lead-in">{t(camera ? "verify.camera-text" : "verify.code-text")}</p></div><IconButton icon="x" label={t("cancel")} onClick={onClose} /></div>
            {camera ? <Camera /> : check.code && <Code bytes={check.code} />}
            <div class="row wrapping">
                {check.scan && check.code && <button type="button" class="btn go grow tall" onClick={() => setCamera(!camera)}><Icon name="qr-code" />{t(camera ? "verify.show-code" : "verify.camera")}</button>}
                <button type="button" class="btn grow tall" onClick={() => void attempt(async () => machine?.byEmoji())}>{t("verify.by-emoji")}</button>
            </div>
        </>
    );
}

/** The other device says that it has scanned; only who sees both screens knows. */
export function Scanned({ onClose }: { onClose: () => void }): JSX.Element {
    const machine = theCrypto();
    return (
        <>
            <div class="row top"><span class="seal"><Icon name="qr-code" /></span><span class="grow" /><IconButton icon="x" label={t("cancel")} onClick={onClose} /></div>
            <div role="status"><h1 class="h2">{t("verify.scanned")}</h1><p class="mut lead-in">{t("verify.scanned-text")}</p></div>
            <div class="row wrapping">
                <button type="button" class="btn go grow tall" onClick={() => void attempt(async () => machine?.answer(true))}>{t("verify.scanned-yes")}</button>
                <button type="button" class="btn grow tall" onClick={() => void attempt(async () => machine?.answer(false))}>{t("verify.scanned-no")}</button>
            </div>
        </>
    );
}
