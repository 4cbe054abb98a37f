// Request this page's kernel, which tells Voila that the page is open, and reload the page once its
// kernel has ended; a page that shows something stays, and offers the visitor to reload it.
(() => {
  const CHECK_INTERVAL = 10000; // milliseconds, while slow connections still load scripts
  const CONTENT = ".photo-frame, .answer .busy, .answer .problem, .answer .bars, .answer .similar";
  const { baseUrl, kernelId } = JSON.parse(document.getElementById("jupyter-config-data").textContent);

  function showNotice() {
    if (document.body.dataset.disconnected) return;
    document.body.dataset.disconnected = true; // read by widget.js
    const notice = document.createElement("p");
    const reload = document.createElement("button");
    Object.assign(notice, { className: "problem", role: "alert" });
    Object.assign(reload, { className: "second", type: "button", textContent: "Reload the page" });
    reload.onclick = () => location.reload();
    notice.append("This page was inactive for too long and was disconnected. What it shows stays. ", reload);
    document.querySelector(".card").before(notice);
  }

  async function checkKernel() {
    const response = await fetch(`${baseUrl}api/kernels/${kernelId}`).catch(() => null);
    if (response?.status !== 404 || document.visibilityState !== "visible") return;
    if (document.body.dataset.disconnected || document.querySelector(CONTENT)) showNotice();
    else location.reload();
  }

  checkKernel();
  const timer = setInterval(checkKernel, CHECK_INTERVAL);
  addEventListener("load", () => clearInterval(timer));
  for (const event of ["focus", "pageshow", "pointerdown", "visibilitychange"]) addEventListener(event, checkKernel);
})();
