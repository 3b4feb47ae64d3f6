/** Builds the console into dist/: one page, one script, one style sheet, each a file of its own. */

export default {
  base: "./",
  build: {
    target: "es2022",
    cssTarget: ["chrome123", "firefox121", "safari17.5"],
    // The content security policy allows no data: addresses and no inline parts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    sourcemap: false,
  },
};
