// The page as a server sends it; what is beside `startPage` differs where the model is in the page.
import { startPage } from "./main.js";
import { ServerBackend } from "./server.js";

async function openPage() {
  const backend = new ServerBackend(location.hash.slice(1));
  try {
    startPage(backend, await backend.info());
  } catch (error) {
    const trouble = document.getElementById("trouble");
    trouble.textContent = error.message;
    trouble.hidden = false;
  }
}

window.addEventListener("unhandledrejection", (event) => {
  const trouble = document.getElementById("trouble");
  trouble.textContent = `the page failed: ${event.reason && event.reason.message}`;
  trouble.hidden = false;
});
openPage();
