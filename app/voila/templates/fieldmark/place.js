// Tell Voila that somebody is at this page, and begin again where its kernel has ended. What a
// visitor has on the page stays there: then it is they who load it anew.
(() => {
  const { baseUrl, kernelId } = JSON.parse(document.getElementById("jupyter-config-data").textContent);
  const HELD = ".frame-of-photo, .answer .busy, .answer .problem, .answer .bars";
  const tell = () => {
    if (document.body.dataset.lost) return;
    document.body.dataset.lost = true; // the widget sees it
    const said = document.createElement("p");
    const again = document.createElement("button");
    Object.assign(said, { className: "problem", role: "alert" });
    Object.assign(again, { className: "second", type: "button", textContent: "Load it anew" });
    again.onclick = () => location.reload();
    said.append("This page was away for so long that its place was given up. What it shows stays. ", again);
    document.querySelector(".card").before(said);
  };
  const ask = async () => {
    const answer = await fetch(`${baseUrl}api/kernels/${kernelId}`).catch(() => null);
    if (answer?.status !== 404 || document.visibilityState !== "visible") return;
    const shown = document.body.dataset.lost || document.querySelector(HELD);
    shown ? tell() : location.reload();
  };
  ask();
  const early = setInterval(ask, 10000); // scripts load slowly on some roads
  addEventListener("load", () => clearInterval(early));
  for (const back of ["focus", "pageshow", "pointerdown", "visibilitychange"]) addEventListener(back, ask);
})();
