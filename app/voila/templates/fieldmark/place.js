// Tell Voila that somebody is at this page, and begin again where its kernel has ended.
(() => {
  const { baseUrl, kernelId } = JSON.parse(document.getElementById("jupyter-config-data").textContent);
  const ask = async () => {
    const answer = await fetch(`${baseUrl}api/kernels/${kernelId}`).catch(() => null);
    if (answer?.status === 404 && document.visibilityState === "visible") location.reload();
  };
  ask();
  const early = setInterval(ask, 10000); // scripts load slowly on some roads
  addEventListener("load", () => clearInterval(early));
  for (const back of ["focus", "pageshow", "pointerdown", "visibilitychange"]) addEventListener(back, ask);
})();
