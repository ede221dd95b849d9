import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

const OUT = "../src/gnomon/serve/page";

/** Each script and style once more, compressed, so that the server need not do it. */
const compressed: Plugin = {
  name: "compressed",
  // Not at the close, which a build that failed reaches too: its own error would not be seen.
  writeBundle() {
    const folder = join(import.meta.dirname, OUT, "assets");
    for (const name of readdirSync(folder)) {
      const file = join(folder, name);
      writeFileSync(`${file}.gz`, gzipSync(readFileSync(file), { level: 9 }));
    }
  },
};

// Built into the Python package, which serves it under /page/. In development, `npm run dev`
// passes everything else on to a Gnomon that runs beside it.
export default defineConfig({
  base: "/page/",
  plugins: [react(), compressed],
  build: {
    outDir: OUT,
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
