"""How the page looks: one column of text, light or dark as the reader's system, on a phone as on a desk."""

STYLE = """:root {
  color-scheme: light dark;
  --paper: #fdfcfa; --ink: #22303c; --soft: #6b7885; --line: #dfe3e7; --method: #2763a5; --naive: #bb5a14;
  --good: #2f7d57; --bad: #b3392f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14191e; --ink: #e3e7eb; --soft: #98a4af; --line: #2e3740; --method: #7fb2e8; --naive: #f0a264;
    --good: #79c9a0; --bad: #ec8b80;
  }
  /* pictures are drawn once, dark on light: turned over, with their hues kept, on the page's own ground */
  figure img { filter: invert(1) hue-rotate(180deg); mix-blend-mode: screen }
}
@media (prefers-color-scheme: light) { figure img { mix-blend-mode: multiply } }
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100% }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1.0625rem/1.62 Charter, "Bitstream Charter", "Sitka Text", Cambria, Georgia, "Noto Serif KR", serif }
main { max-width: 43rem; margin: 0 auto; padding: 4rem 1.25rem 5rem }
.name { margin: 0; color: var(--soft); font: 600 .8rem/1 system-ui, sans-serif; letter-spacing: .14em;
  text-transform: uppercase }
h1 { margin: .6rem 0 1.6rem; font-size: clamp(1.9rem, 6vw, 2.6rem); line-height: 1.15; font-weight: 600;
  letter-spacing: -.012em; text-wrap: balance }
h2 { margin: 4rem 0 .5rem; font-size: 1.4rem; line-height: 1.25; font-weight: 600 }
p { margin: 0 0 1rem; text-wrap: pretty }
.result { font-size: 1.25rem; line-height: 1.5 }
.result b { color: var(--method); font-weight: 600 } .result i { color: var(--naive); font-style: normal }
.soft, footer { color: var(--soft); font-size: .95rem }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: 0 2rem; margin: 2rem 0 0 }
.figures div { padding: .9rem 0; border-top: 2px solid var(--line) }
.figures .method { border-color: var(--method) } .figures .naive { border-color: var(--naive) }
.figures b { display: block; font: 600 2.4rem/1.1 system-ui, sans-serif; font-variant-numeric: tabular-nums;
  letter-spacing: -.02em }
.figures small { font-size: 1.2rem; color: var(--soft); font-weight: 400 }
.figures span { display: block; margin-top: .3rem; color: var(--soft); font: .9rem/1.4 system-ui, sans-serif }
.method b { color: var(--method) } .naive b { color: var(--naive) }
figure { margin: 1.4rem 0 .6rem }
figure img { display: block; width: 100%; height: auto }
.wide { overflow-x: auto; margin: 1.2rem 0 }
table { width: 100%; border-collapse: collapse; font: .9rem/1.45 system-ui, "Noto Sans KR", sans-serif }
th, td { padding: .5rem 0 .5rem 1.1rem; border-bottom: 1px solid var(--line); vertical-align: top }
th { color: var(--soft); font-weight: 500 } th:first-child, td:first-child { padding-left: 0; text-align: left }
.numbers th + th, .numbers td + td { text-align: right }
.numbers th, .numbers td { white-space: nowrap; font-variant-numeric: tabular-nums }
.words { min-width: 32rem } .words th, .words td { text-align: left }
.right td:nth-child(2), .right td:nth-child(3) { color: var(--good) } .wrong td:nth-child(2) { color: var(--bad) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .5rem 1.6rem; margin: 1rem 0 0 }
dt { font-weight: 600 } dd { margin: 0 }
footer { margin-top: 4rem; padding-top: 1rem; border-top: 1px solid var(--line) }
code { font: .9em ui-monospace, Menlo, Consolas, monospace }
@media (max-width: 34rem) { main { padding-top: 2.2rem } h2 { margin-top: 3rem }
  figure { margin-left: -.7rem; margin-right: -.7rem } dl { grid-template-columns: 1fr; gap: 0 }
  dt { margin-top: .7rem } }
"""
