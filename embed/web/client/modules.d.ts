/** What the build makes (build.mjs). */
declare module "hromada:icons/*" {
    const icons: Record<string, [string, Record<string, string>][]>;
    export default icons;
}
declare module "hromada:emoji/*" {
    const groups: [string, string, string, string[]?][][];
    export default groups;
}
declare module "hromada:crypto.wasm" {
    const address: string;
    export default address;
}
declare const BUILD: string;
