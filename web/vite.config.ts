import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// Built into the Python package, which serves it under /page/. In development, `npm run dev`
// passes everything else on to a Gnomon that runs beside it.
export default defineConfig({
  base: "/page/",
  plugins: [react()],
  build: {
    outDir: "../src/gnomon/serve/page",
    emptyOutDir: true,
    // The page's policy forbids data: fonts and inline styles; small files stay files.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      onwarn(warning, warn) {
        if (warning.code !== "MODULE_LEVEL_DIRECTIVE") warn(warning);
      },
    },
  },
  server: {
    proxy: { "^/(v1|saved|health)": { target: "http://127.0.0.1:8420", changeOrigin: true } },
  },
});
