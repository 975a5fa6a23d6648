import tseslint from "typescript-eslint";

// The order of the layers: the SDK is seen by sdk/ alone, views see the stores, the parts in ui/ see none of them.
const only = (patterns) => ({ "no-restricted-imports": ["error", { patterns }] });
const SDK = { group: ["matrix-js-sdk/*"], message: "Only client/sdk sees the SDK." };

export default tseslint.config(
    { ignores: ["dist/**", "dist.new/**", "dist.old/**", "node_modules/**", "build.mjs", "core/ws.mjs", "eslint.config.js"] },
    ...tseslint.configs.strictTypeChecked,
    {
        languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
        linterOptions: { reportUnusedDisableDirectives: "error" },
        rules: {
            "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "inline-type-imports" }],
            "@typescript-eslint/switch-exhaustiveness-check": "off",
            "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
            // Texts are walked sign by sign, as people count them.
            "@typescript-eslint/no-misused-spread": ["error", { allow: ["string", { from: "lib", name: "String" }] }],
            // `done && close()` and arrows that are one command are how things are said here.
            "@typescript-eslint/no-confusing-void-expression": "off",
            "@typescript-eslint/no-meaningless-void-operator": "off",
            // What other people and servers send is not always what its type says, so it is asked once more.
            "@typescript-eslint/no-unnecessary-condition": "off",
            "@typescript-eslint/no-unnecessary-type-conversion": "off",
            // The SDK's enums would bring its modules along; `currentState` is what a tab that follows has of a room, too.
            "@typescript-eslint/no-unsafe-enum-assignment": "off",
            "@typescript-eslint/no-deprecated": "off",
            "@typescript-eslint/no-dynamic-delete": "off", // contents of events are plain objects with any keys
            eqeqeq: ["error", "always", { null: "ignore" }],
            "no-eval": "error",
            "no-implied-eval": "error",
            "no-restricted-syntax": [
                "error",
                { selector: "JSXAttribute[name.name=/^(dangerouslySetInnerHTML|srcDoc|srcdoc)$/], Property[key.name='dangerouslySetInnerHTML']", message: "Nothing is inserted as markup." },
                { selector: "MemberExpression[property.name=/^(innerHTML|outerHTML|srcdoc|insertAdjacentHTML|setHTMLUnsafe|parseHTMLUnsafe|createContextualFragment)$/]", message: "Nothing is inserted as markup." },
                { selector: "JSXAttribute[name.name='style'] > Literal", message: "Styles are objects: the policy forbids inline ones." },
            ],
        },
    },
    { files: ["client/**"], ignores: ["client/sdk/**"], rules: only([SDK]) },
    { files: ["ui/**"], rules: only([SDK, { group: ["**/client/**"], message: "Parts in ui/ know no store." }]) },
    { files: ["frame/**", "loader/**"], rules: only([SDK, { group: ["**/client/**", "../ui/[A-Z]*", "../../ui/[A-Z]*", "@preact/signals"], message: "The widget stands by itself, on core/." }]) },
    // Bytes are counted there, and what is in a list is known by its making.
    { files: ["frame/**", "loader/**"], rules: { "@typescript-eslint/no-non-null-assertion": "off" } },
    { files: ["core/**"], rules: only([SDK, { group: ["**/client/**", "**/ui/**", "preact*"], message: "core/ knows no view." }]) },
    { files: ["client/sdk/**"], rules: only([{ group: ["**/stores/**", "**/parts/**", "**/pages/**"], message: "sdk/ knows no store and no view." }]) },
    { files: ["client/stores/**"], rules: only([SDK, { group: ["**/parts/**", "**/pages/**"], message: "Stores know no view." }]) },
    // A feed from another tab goes by the same interface as the connection.
    { files: ["client/sdk/tabs/**"], rules: { "@typescript-eslint/no-unsafe-class-instance-assignment": "off" } },
    {
        files: ["**/*.test.ts", "client/sdk/stubs/**"],
        rules: { "@typescript-eslint/no-floating-promises": "off", "@typescript-eslint/require-await": "off", "@typescript-eslint/no-extraneous-class": "off" },
    },
);
