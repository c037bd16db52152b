"""The page's style sheet: light and dark, no fonts or files from elsewhere."""

CSS = """
:root{color-scheme:light dark;--bg:#fbfbfd;--card:#fff;--ink:#1d2330;--soft:#5b6474;
--rule:#e1e5ec;--bar:#9db4d6;--strong:#1f5fbf;--win:#eaf2fe;--good:#13733c;--bad:#b3261e;
--q0:#a84300;--q1:#e08214;--q2:#9a9aa2;--q3:#5a9bd4;--q4:#1f4fa8}
@media (prefers-color-scheme:dark){:root{--bg:#12151b;--card:#1a1f28;--ink:#e6eaf1;
--soft:#9ba6b8;--rule:#2d3542;--bar:#4d6488;--strong:#7db0ff;--win:#1d2c45;--good:#6fd08c;
--bad:#ff8a80;--q0:#f0703a;--q1:#f2a65a;--q2:#a8adb8;--q3:#7fb2e8;--q4:#4a86f0}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main,header{max-width:68rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:2rem}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:0 0 .5rem}h3{font-size:1rem;margin:1rem 0 .25rem}
p{margin:.25rem 0 .75rem;overflow-wrap:anywhere}.soft,caption,figcaption{color:var(--soft)}
caption,figcaption{text-align:left;font-size:.875rem;padding:.25rem 0}
section{background:var(--card);border:1px solid var(--rule);border-radius:10px;
padding:1.1rem 1.25rem;margin:1.1rem 0}
.scroll{overflow-x:auto}.scroll+.scroll{margin-top:1.1rem}
table{border-collapse:collapse;min-width:min(100%,30rem);font-size:.9rem}
th,td{padding:.4rem .6rem;border-bottom:1px solid var(--rule);text-align:left;
vertical-align:top}
tbody tr:last-child>*{border-bottom:0}thead th{color:var(--soft);font-weight:600}
th.n,td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
thead th{vertical-align:bottom}thead th.n{white-space:normal}
th:first-child{min-width:9rem;max-width:20rem}
tbody th{font-weight:500;overflow-wrap:break-word}
tr.win>*{background:var(--win);font-weight:650}td small{display:block;color:var(--soft);
font-weight:400;font-size:.78rem}
.verdict{display:inline-block;font-weight:650;padding:.1rem .7rem;border-radius:99px;
border:1.5px solid currentColor}.yes{color:var(--good)}.no{color:var(--bad)}
figure{margin:.75rem 0;flex:1 1 18rem;overflow-x:auto}.pair{display:flex;flex-wrap:wrap;gap:1rem}
svg{width:100%;height:auto;display:block}svg text{fill:var(--ink);font-size:12.5px}
.bar{fill:var(--bar)}.strong,.dot{fill:var(--strong)}
.axis{stroke:var(--soft)}.ideal{stroke:var(--soft);stroke-dasharray:5 4}
.line{fill:none;stroke:var(--strong);stroke-width:2}
.q0{fill:var(--q0)}.q1{fill:var(--q1)}.q2{fill:var(--q2)}.q3{fill:var(--q3)}.q4{fill:var(--q4)}
svg .q0,svg .q1,svg .q2,svg .q3,svg .q4{fill-opacity:.65}
.key{display:inline-block;width:.8em;height:.8em;border-radius:50%;margin:0 .3em 0 .8em}
i.q0{background:var(--q0)}i.q1{background:var(--q1)}i.q2{background:var(--q2)}
i.q3{background:var(--q3)}i.q4{background:var(--q4)}
svg.wide{min-width:30rem}:focus-visible{outline:2px solid var(--strong);outline-offset:2px}
time{white-space:nowrap}
@media print{section{break-inside:avoid}}
"""
