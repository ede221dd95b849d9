import { describe, expect, it } from "vitest";
import { calm, safeHref } from "./text";

describe("calm", () => {
  it("drops what turns or hides text and keeps what letters need", () => {
    expect(calm("a\u202eb\u2066c\u200bd\ufeff\u0007")).toBe("abcd");
    expect(calm("tag\u{e0041}\u{e007f}")).toBe("tag");
    expect(calm("نمی\u200cخواهم 👨\u200d👩\u200d👧 a\tb\nc")).toBe(
      "نمی\u200cخواهم 👨\u200d👩\u200d👧 a\tb\nc",
    );
  });
});

describe("safeHref", () => {
  it.each([
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " javascript:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "file:///etc/passwd",
    "blob:https://a.org/x",
    "https://user:pass@evil.org/",
    "//evil.org",
    "",
    null,
  ])("refuses %s", (url) => {
    expect(safeHref(url)).toBeNull();
  });

  it("shows a homograph as what it is", () => {
    expect(safeHref("https://аpple.com/")).toBe("https://xn--pple-43d.com/");
  });
});
