// Recording a voice message: how long, how loud, and the two ways out.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { IconButton } from "../../ui/controls.tsx";
import { t } from "../i18n/t.ts";
import { duration } from "../render/dates.ts";
import { announce, toast } from "../stores/app.ts";
import type { Spoken } from "./send.ts";
import "./asked.ts";

const TYPES = ["audio/ogg;codecs=opus", "audio/webm;codecs=opus", "audio/mp4"];
const STEP_MS = 100;
const LONGEST_MS = 15 * 60_000;
const BARS = 100;

/** The loudness in so many equal steps, 0 to 1024. */
export function waveOf(levels: readonly number[]): number[] {
    const most = Math.max(0.05, ...levels);
    const count = Math.min(BARS, levels.length);
    return Array.from({ length: count }, (_, at) => {
        const part = levels.slice(Math.floor((at * levels.length) / count), Math.max(Math.floor(((at + 1) * levels.length) / count), Math.floor((at * levels.length) / count) + 1));
        return Math.round((Math.max(...part) / most) * 1024);
    });
}

export function Voice({ onDone }: { onDone: (file?: File, said?: Spoken) => void }): JSX.Element {
    const [ms, setMs] = useState(0);
    const [levels, setLevels] = useState<readonly number[]>([]);
    const stop = useRef<(send: boolean) => void>(() => undefined);
    useEffect(() => {
        let ended = false;
        let release = (): void => void (ended = true);
        const begin = async (): Promise<void> => {
            const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
            const off = (): void => stream.getTracks().forEach((track) => track.stop());
            if (ended) return off();
            const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
            const recorder = new MediaRecorder(stream, mimeType ? { mimeType, audioBitsPerSecond: 32_000 } : {});
            const context = new AudioContext();
            const meter = context.createAnalyser();
            meter.fftSize = 1024;
            context.createMediaStreamSource(stream).connect(meter);
            const sample = new Float32Array(meter.fftSize), heard: number[] = [], chunks: Blob[] = [];
            const started = performance.now();
            const timer = setInterval(() => {
                meter.getFloatTimeDomainData(sample);
                heard.push(Math.sqrt(sample.reduce((sum, value) => sum + value * value, 0) / sample.length));
                setLevels(heard.slice(-40));
                const now = performance.now() - started;
                setMs(now);
                if (now > LONGEST_MS) stop.current(true);
            }, STEP_MS);
            recorder.ondataavailable = ({ data }) => chunks.push(data);
            release = () => {
                if (ended) return;
                ended = true;
                clearInterval(timer);
                off();
                void context.close();
            };
            stop.current = (send) => {
                if (recorder.state === "inactive") return;
                const said = { ms: Math.round(performance.now() - started), wave: waveOf(heard) };
                recorder.onstop = () => {
                    release();
                    const type = (recorder.mimeType || "audio/webm").split(";")[0] ?? "audio/webm";
                    const suffix = type.endsWith("ogg") ? "ogg" : type.endsWith("mp4") ? "m4a" : "webm";
                    if (send) onDone(new File(chunks, `${t("media.voice")}.${suffix}`, { type }), said);
                    else onDone();
                };
                recorder.stop();
            };
            recorder.start(1_000);
            announce(t("voice.recording", { time: duration(0) }));
        };
        begin().catch(() => {
            toast(t("voice.denied"));
            announce(t("voice.denied"), true);
            onDone();
        });
        return () => release();
    }, []);
    return (
        <div class="ln speaking" onKeyDown={(event) => {
            if (event.key === "Escape") stop.current(false);
        }}>
            <IconButton icon="trash-2" label={t("voice.cancel")} onClick={() => stop.current(false)} />
            <span class="live-dot" aria-hidden="true" />
            <span role="timer" class="num" aria-label={t("voice.recording", { time: duration(ms / 1000) })}>{duration(ms / 1000)}</span>
            <span class="wave grow" aria-hidden="true">{levels.map((level, at) => <i key={at} style={{ blockSize: `${Math.max(8, Math.min(100, level * 300))}%` }} />)}</span>
            <IconButton icon="arrow-up" class="go" label={t("voice.send")} autofocus onClick={() => stop.current(true)} />
        </div>
    );
}
