// Hydrogen, a web client of others, as its package has it: its own application on a page of the tests, bundled by them.

import { createNavigation, createRouter, FeatureSet, Platform, RootViewModel } from "hydrogen-view-sdk";

const assetPaths = {
    downloadSandbox: "/download-sandbox.html",
    worker: "/main.js",
    olm: { wasm: "/olm.wasm", legacyBundle: "/olm_legacy.js", wasmBundle: "/olm.js" },
    serviceWorker: "/sw.js",
};
const defaultHomeServer = new URLSearchParams(location.search).get("homeserver");
const platform = new Platform({ container: document.body, assetPaths, config: { defaultHomeServer, themeManifests: [] }, options: { development: false } });
const navigation = createNavigation();
platform.setNavigation(navigation);
await platform.init();
const urlRouter = createRouter({ navigation, history: platform.history });
urlRouter.attach();
const features = await FeatureSet.load(platform.settingsStorage);
const root = new RootViewModel({ platform, urlRouter, navigation, features });
await root.load();
platform.createAndMountRootView(root);
