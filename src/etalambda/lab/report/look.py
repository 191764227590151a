"""The page's style sheet and its script, as text. No font, image or script comes from a network."""

STYLE = """
:root{--ink:#1f2933;--muted:#616e7c;--line:#dde2e8;--soft:#f5f7f9;--blue:#0072b2;--warn:#a33c00}
*{box-sizing:border-box}
html{scroll-behavior:smooth}
body{margin:0;color:var(--ink);background:#fff;font:16px/1.55 system-ui,sans-serif}
header,main,footer{max-width:1120px;margin:0 auto;padding:0 20px}
header{padding-top:34px}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 6px}
h2{font-size:1.3rem;margin:0 0 10px}
p{max-width:46em;margin:.5em 0}
nav{margin:14px 0 0;display:flex;flex-wrap:wrap;gap:6px 18px}
a{color:var(--blue)}
section{border-top:1px solid var(--line);margin-top:34px;padding-top:24px}
.findings{margin:.4em 0 1em;padding:12px 18px 12px 34px;background:var(--soft);border-radius:8px}
.findings li{max-width:48em;margin:.25em 0}
.findings li.alarm{color:var(--warn);font-weight:600}
.note,figcaption{color:var(--muted);font-size:.9rem}
.panels{display:grid;gap:14px;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr))}
figure{margin:0;min-width:0}
figure svg{width:100%;height:auto;display:block;font-family:system-ui,sans-serif}
.chart{width:100%;min-width:0}
.scroll{overflow-x:auto;margin:14px 0 4px}
table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums;min-width:420px}
caption{text-align:left;font-weight:600;padding-bottom:6px}
th,td{padding:5px 14px 5px 0;text-align:right;border-bottom:1px solid var(--line);
white-space:nowrap}
th:first-child{text-align:left;font-weight:500}
thead th{color:var(--muted);font-weight:500;white-space:normal;vertical-align:bottom}
tr.best>*{font-weight:700}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 16px;padding:0;margin:8px 0;
font-size:.9rem}
.legend i{display:inline-block;width:20px;height:4px;border-radius:2px;margin-right:6px;
vertical-align:middle}
.chips{display:flex;flex-wrap:wrap;gap:6px;margin:10px 0}
.chips button{border:1px solid var(--line);background:#fff;border-radius:99px;padding:3px 11px;
font:inherit;font-size:.88rem;cursor:pointer;color:var(--ink)}
.chips button i{display:inline-block;width:11px;height:11px;border-radius:50%;margin-right:6px}
.chips button[aria-pressed=false]{opacity:.4}
.code{position:relative;margin:8px 0}
pre{background:var(--soft);border-radius:8px;padding:12px 70px 12px 14px;overflow-x:auto;margin:0;
font:13.5px/1.5 ui-monospace,monospace}
.copy{position:absolute;right:8px;top:8px;font:inherit;font-size:.8rem;border:1px solid var(--line);
border-radius:6px;background:#fff;padding:2px 9px;cursor:pointer}
.picked{min-height:2.2em;color:var(--muted);font-size:.9rem}
details{margin:10px 0}
summary{cursor:pointer;color:var(--blue)}
footer{padding-bottom:50px}
@media(max-width:600px){body{font-size:15px}header,main,footer{padding-left:14px;padding-right:14px}}
@media print{.copy,.chips,nav{display:none}section{break-inside:avoid}}
"""

# plotly draws what the JSON blocks hold; buttons copy code and switch methods on and off.
SCRIPT = """
const base={font:{family:'system-ui,sans-serif',size:12.5,color:'#1f2933'},
 paper_bgcolor:'rgba(0,0,0,0)',plot_bgcolor:'rgba(0,0,0,0)',hovermode:'closest',
 hoverlabel:{align:'left',bgcolor:'#fff',bordercolor:'#c3cad3',font:{color:'#1f2933'}}};
const axis={gridcolor:'#e7eaee',linecolor:'#c3cad3',zeroline:false,automargin:true};
function copyText(text,button){
 const say=()=>{button.textContent='copied';setTimeout(()=>button.textContent='copy',1500)};
 if(navigator.clipboard){navigator.clipboard.writeText(text).then(say,()=>{})}}
document.querySelectorAll('script[data-chart]').forEach(block=>{
 const box=document.getElementById(block.dataset.chart),spec=JSON.parse(block.textContent);
 const layout=Object.assign({},base,spec.layout);
 for(const key of ['xaxis','yaxis'])layout[key]=Object.assign({},axis,layout[key]);
 Plotly.newPlot(box,spec.data,layout,{responsive:true,displaylogo:false,displayModeBar:false});
 box.on('plotly_click',event=>{
  const cell=event.points[0].customdata;
  if(!Array.isArray(cell))return;
  let line=box.parentNode.querySelector('.picked');
  if(!line)return;
  line.replaceChildren();
  const code=document.createElement('code');code.textContent=cell[cell.length-1];
  line.append(code)})});
document.querySelectorAll('.copy').forEach(button=>button.addEventListener('click',()=>
 copyText(button.parentNode.querySelector('code').textContent,button)));
document.querySelectorAll('.chips button').forEach(button=>button.addEventListener('click',()=>{
 const on=button.getAttribute('aria-pressed')==='false';
 button.setAttribute('aria-pressed',on);
 button.closest('section').querySelectorAll('.chart').forEach(box=>{
  const found=[];box.data.forEach((t,i)=>{if(t.meta===button.dataset.method)found.push(i)});
  if(found.length)Plotly.restyle(box,{visible:on},found)})}));
"""
