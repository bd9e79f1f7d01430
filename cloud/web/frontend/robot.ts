// "I am not a robot": fetches a challenge when the box is ticked and solves it a slice at a time, so that the page
// stays usable. Format: cloud/core/proof_of_work.py.
import { gettext } from "./words";

interface Challenge {
  challenge: string;
  bits: number;
  puzzles: number;
}

const SLICE = 64; // digests on their way at once; between slices the page gets its turn
const STALE_MS = 240_000; // challenges live 5 minutes

function zeroBits(digest: ArrayBuffer): number {
  let bits = 0;
  for (const byte of new Uint8Array(digest)) {
    if (byte !== 0) return bits + Math.clz32(byte) - 24;
    bits += 8;
  }
  return bits;
}

async function solvePuzzle(prefix: string, bits: number): Promise<number> {
  const encoder = new TextEncoder();
  for (let first = 0; ; first += SLICE) {
    const digests = await Promise.all(
      Array.from({ length: SLICE }, (_, offset) =>
        crypto.subtle.digest("SHA-256", encoder.encode(`${prefix}.${first + offset}`)),
      ),
    );
    const found = digests.findIndex((digest) => zeroBits(digest) >= bits);
    if (found >= 0) return first + found;
    if (first % (SLICE * 16) === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

async function solve(asked: string, say: (text: string) => void): Promise<string> {
  const answer = await fetch(`/robot${asked ? `?bits=${asked}` : ""}`, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`challenge: ${answer.status}`);
  const { challenge, bits, puzzles } = (await answer.json()) as Challenge;
  const numbers: number[] = [];
  for (let index = 0; index < puzzles; index += 1) {
    numbers.push(await solvePuzzle(`${challenge}.${index}`, bits));
    say(gettext("Checking… {percent} %", { percent: Math.round((100 * (index + 1)) / puzzles) }));
  }
  return `${challenge}:${numbers.join(",")}`;
}

function startRobot(box: HTMLInputElement): void {
  const form = box.form;
  const field = form?.querySelector<HTMLInputElement>("input[name=robot]");
  const status = document.getElementById("robot-status");
  if (!form || !field || !status) return;
  for (const note of form.querySelectorAll<HTMLElement>("[data-robot-off]")) note.hidden = true;
  let running: Promise<void> | null = null;
  let solvedMs = 0;
  const say = (text: string, state: string): void => {
    status.textContent = text;
    status.dataset["state"] = state;
  };
  const work = async (): Promise<void> => {
    say(gettext("Checking…"), "open");
    try {
      field.value = await solve(box.dataset["bits"] ?? "", (text) => say(text, "open"));
      solvedMs = Date.now();
      say(gettext("Checked"), "complete");
    } catch {
      field.value = "";
      box.checked = false;
      say(gettext("The check did not work. Please tick the box again."), "wrong");
    } finally {
      running = null;
    }
  };
  const start = (): Promise<void> => (running ??= work());
  const current = (): boolean => field.value !== "" && Date.now() - solvedMs < STALE_MS;
  box.addEventListener("change", () => {
    if (box.checked && !current()) void start();
  });
  form.addEventListener("submit", (event) => {
    if (current()) return;
    event.preventDefault();
    const sender = event.submitter;
    void start().then(() => {
      if (current()) form.requestSubmit(sender);
    });
  });
  if (box.checked) void start(); // the browser has put back what was ticked
}

export function startRobots(): void {
  for (const box of document.querySelectorAll<HTMLInputElement>("input[data-robot]")) startRobot(box);
}
