import type { JSX } from "preact";
import { Dialog } from "../../ui/controls.tsx";
import { t } from "../i18n/t.ts";
import { details, inviteTo, jumping, keysHelp, lightbox, newDialog, personCard, question, type Question, reporting, switcher } from "../stores/ui.ts";
import { Switcher } from "./Switcher.tsx";
import { lazy } from "../../ui/lazy.tsx";

const InviteDialog = lazy(() => import("./NewDialog.tsx").then(({ InviteDialog }) => InviteDialog), null);
const NewDialog = lazy(() => import("./NewDialog.tsx").then(({ NewDialog }) => NewDialog), null);
const Jump = lazy(() => import("./Jump.tsx").then(({ JumpDialog }) => JumpDialog), null);
const PersonCard = lazy(() => import("./PersonCard.tsx").then(({ PersonCard }) => PersonCard), null);
const KeysDialog = lazy(() => import("./KeysTable.tsx").then(({ KeysDialog }) => KeysDialog), null);
const DetailsDialog = lazy(() => import("./Details.tsx").then(({ DetailsDialog }) => DetailsDialog), null);
const ReportDialog = lazy(() => import("./Report.tsx").then(({ ReportDialog }) => ReportDialog), null);
const Lightbox = lazy(() => import("./Lightbox.tsx").then(({ Lightbox }) => Lightbox), null);

/** Whatever is open above the page. */
export function Dialogs(): JSX.Element {
    return (
        <>
            {lightbox.value && <Lightbox room={lightbox.value.room} thread={lightbox.value.thread} key_={lightbox.value.key} />}
            {newDialog.value && <NewDialog {...(typeof newDialog.value === "string" ? { kind: newDialog.value } : newDialog.value)} />}
            {jumping.value && <Jump room={jumping.value} />}
            {inviteTo.value && <InviteDialog room={inviteTo.value} />}
            {switcher.value && <Switcher />}
            {personCard.value && <PersonCard {...personCard.value} key={personCard.value.user} />}
            {reporting.value && <ReportDialog />}
            {details.value && <DetailsDialog />}
            {keysHelp.value && <KeysDialog />}
            {question.value && <QuestionDialog of={question.value} />}
        </>
    );
}

function QuestionDialog({ of }: { of: Question }): JSX.Element {
    const close = (): void => void (question.value = undefined);
    return (
        <Dialog
            title={of.title} onClose={close}
            footer={
                <>
                    <button type="button" class="btn" onClick={close}>{t("cancel")}</button>
                    {of.first && <button type="button" class="btn go" onClick={() => {
                        close();
                        of.first?.run();
                    }}>{of.first.label}</button>}
                    <button type="button" class={of.bad ? "btn bad fill" : "btn go"} onClick={() => {
                        close();
                        of.run();
                    }}>{of.yes}</button>
                </>
            }
        >
            <div class="in-dlg"><p class="mut">{of.text}</p></div>
        </Dialog>
    );
}
