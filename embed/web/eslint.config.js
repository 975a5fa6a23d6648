import tseslint from "typescript-eslint";

// The order of the layers: the SDK is seen by sdk/ alone, views see the stores, the parts in ui/ see none of them.
const only = (patterns) => ({ "no-restricted-imports": ["error", { patterns }] });
const SDK = { group: ["matrix-js-sdk/*"], message: "Only client/sdk sees the SDK." };

export default tseslint.config(
    { ignores: ["dist/**", "dist.new/**", "dist.old/**", "node_modules/**", "build.mjs", "core/ws.mjs", "eslint.config.js"] },
    ...tseslint.configs.recommendedTypeChecked,
    {
        languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
        linterOptions: { reportUnusedDisableDirectives: "error" },
        rules: {
            "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "inline-type-imports" }],
            "@typescript-eslint/switch-exhaustiveness-check": "off",
            eqeqeq: ["error", "always", { null: "ignore" }],
            "no-eval": "error",
            "no-implied-eval": "error",
            "no-restricted-syntax": [
                "error",
                { selector: "JSXAttribute[name.name='dangerouslySetInnerHTML']", message: "Nothing is inserted as markup." },
                { selector: "MemberExpression[property.name=/^(innerHTML|outerHTML|insertAdjacentHTML)$/]", message: "Nothing is inserted as markup." },
                { selector: "JSXAttribute[name.name='style'] > Literal", message: "Styles are objects: the policy forbids inline ones." },
            ],
        },
    },
    { files: ["client/**"], ignores: ["client/sdk/**"], rules: only([SDK]) },
    { files: ["ui/**"], rules: only([SDK, { group: ["**/client/**"], message: "Parts in ui/ know no store." }]) },
    { files: ["frame/**", "loader/**"], rules: only([SDK, { group: ["**/client/**", "../ui/[A-Z]*", "../../ui/[A-Z]*", "@preact/signals"], message: "The widget stands by itself, on core/." }]) },
    { files: ["core/**"], rules: only([SDK, { group: ["**/client/**", "**/ui/**", "preact*"], message: "core/ knows no view." }]) },
    { files: ["client/sdk/**"], rules: only([{ group: ["**/stores/**", "**/parts/**", "**/pages/**"], message: "sdk/ knows no store and no view." }]) },
    { files: ["client/stores/**"], rules: only([SDK, { group: ["**/parts/**", "**/pages/**"], message: "Stores know no view." }]) },
    {
        files: ["**/*.test.ts", "client/sdk/stubs/**"],
        rules: { "@typescript-eslint/no-floating-promises": "off", "@typescript-eslint/require-await": "off" },
    },
);
