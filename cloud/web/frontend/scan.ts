// The scanner in the page: asks for the camera when told to, reads QR codes where the picture is, and takes the codes of
// the first label to the page Register UPS. No picture leaves the browser. Besides: photos are made smaller before they
// are sent, which also takes the place where they were taken out of them.
import { keep } from "./label_store";
import { type Codes, findLabel, shown } from "./label_text";

type State = "idle" | "asking" | "running" | "refused" | "none" | "taken" | "insecure" | "broken" | "paused";

interface Detector {
  detect(source: HTMLVideoElement): Promise<readonly { readonly rawValue: string }[]>;
}

interface NativeDetector {
  new (options: { formats: string[] }): Detector;
  getSupportedFormats(): Promise<readonly string[]>;
}

const NEXT = "/r";
const CAMERA = "smartconnect.camera"; // the one that was chosen last time
const PAUSE_MS = 100; // between looks: a warm telephone and an empty battery read nothing
const LONGEST_SCAN_MS = 180_000;
const PHOTO_PIXELS = 3200; // of the longer side: enough for several labels in one photo
const SMALL_PHOTO_BYTES = 1_500_000;

// --- reading codes ---------------------------------------------------------------------------------------------------

async function ownDetector(wasm: string): Promise<Detector> {
  const { BarcodeDetector, prepareZXingModule } = await import("barcode-detector/ponyfill");
  await prepareZXingModule({ overrides: { locateFile: () => wasm }, fireImmediately: true });
  return new BarcodeDetector({ formats: ["qr_code"] });
}

// The browser's own detector where it has one that works, else the one that comes with this page.
async function makeDetector(wasm: string): Promise<Detector> {
  const native = (window as unknown as { BarcodeDetector?: NativeDetector }).BarcodeDetector;
  if (!native || !(await native.getSupportedFormats().catch((): readonly string[] => [])).includes("qr_code")) return ownDetector(wasm);
  let chosen: Detector = new native({ formats: ["qr_code"] });
  let isNative = true;
  return {
    detect: async (source) => {
      try {
        return await chosen.detect(source);
      } catch (error) {
        if (!isNative) throw error;
        isNative = false; // its service is missing: Android without Google's, for one
        chosen = await ownDetector(wasm);
        return chosen.detect(source);
      }
    },
  };
}

// --- the camera ------------------------------------------------------------------------------------------------------

function stateOf(error: unknown): State {
  switch (error instanceof DOMException ? error.name : "") {
    case "NotAllowedError":
    case "SecurityError":
      return "refused";
    case "NotFoundError":
    case "OverconstrainedError":
      return "none";
    case "NotReadableError":
    case "AbortError":
      return "taken";
    default:
      return "broken";
  }
}

async function openCamera(deviceId: string): Promise<MediaStream> {
  const size = { width: { ideal: 1280 }, height: { ideal: 720 } };
  if (deviceId) {
    try {
      return await navigator.mediaDevices.getUserMedia({ video: { ...size, deviceId: { exact: deviceId } } });
    } catch (error) {
      if (stateOf(error) !== "none") throw error;
      localStorage.removeItem(CAMERA); // it is not here any more
    }
  }
  return navigator.mediaDevices.getUserMedia({ video: { ...size, facingMode: { ideal: "environment" } } });
}

class Scanner {
  private turn = 0; // a newer start, or a stop, ends what an older one does
  private stream: MediaStream | null = null;
  private detector: Promise<Detector> | null = null;
  private readonly video: HTMLVideoElement;
  private readonly cameras: HTMLSelectElement;
  private readonly status: HTMLElement;
  private readonly light: HTMLButtonElement;

  constructor(private readonly place: HTMLElement) {
    const part = <T extends HTMLElement>(selector: string): T => {
      const found = place.querySelector<T>(selector);
      if (!found) throw new Error(`the page has no ${selector}`);
      return found;
    };
    this.video = part("video");
    this.cameras = part("#camera");
    this.status = part("#scan-status");
    this.light = part("#scan-light");
    for (const button of place.querySelectorAll("[data-scan-start]")) {
      button.addEventListener("click", () => void this.start(localStorage.getItem(CAMERA) ?? ""));
    }
    part("[data-scan-stop]").addEventListener("click", () => {
      this.stop("idle");
      place.querySelector<HTMLElement>("[data-scan=idle] button")?.focus();
    });
    this.cameras.addEventListener("change", () => {
      localStorage.setItem(CAMERA, this.cameras.value);
      void this.start(this.cameras.value);
    });
    this.light.addEventListener("click", () => void this.switchLight());
    document.addEventListener("visibilitychange", () => {
      if (document.hidden && this.stream) this.stop("paused");
    });
    window.addEventListener("pagehide", () => this.stop("idle"));
    this.show("idle");
    place.hidden = false;
  }

  private show(state: State): void {
    this.place.dataset["state"] = state;
    for (const part of this.place.querySelectorAll<HTMLElement>("[data-scan]")) {
      part.hidden = part.dataset["scan"] !== state;
    }
  }

  private say(text: string): void {
    if (this.status.textContent !== text) this.status.textContent = text;
  }

  private word(name: string): string {
    return this.place.dataset[name] ?? "";
  }

  stop(state: State): void {
    this.turn += 1;
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.video.srcObject = null;
    this.say("");
    this.show(state);
  }

  private async start(deviceId: string): Promise<void> {
    this.stop("asking");
    const turn = this.turn;
    if (!navigator.mediaDevices?.getUserMedia) return this.stop("insecure");
    this.detector ??= makeDetector(this.word("wasm")); // loads while the browser asks
    this.detector.catch(() => (this.detector = null));
    try {
      const stream = await openCamera(deviceId);
      if (turn !== this.turn) {
        for (const track of stream.getTracks()) track.stop();
        return;
      }
      this.stream = stream;
      await this.watch(stream, this.detector, turn);
    } catch (error) {
      if (turn === this.turn) this.stop(stateOf(error));
    }
  }

  private async watch(stream: MediaStream, reader: Promise<Detector>, turn: number): Promise<void> {
    const [track] = stream.getVideoTracks();
    if (!track) return this.stop("none");
    track.addEventListener("ended", () => {
      if (turn === this.turn) this.stop("taken");
    });
    this.show("running"); // before it plays: some browsers do not play what is not seen
    this.video.srcObject = stream;
    await this.video.play();
    await this.listCameras(track);
    const detector = await reader;
    this.say(this.word("hold"));
    const until = performance.now() + LONGEST_SCAN_MS;
    while (turn === this.turn) {
      if (performance.now() > until) return this.stop("paused");
      if (this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) {
        const codes = await detector.detect(this.video);
        if (turn === this.turn) this.consider(codes.map((code) => code.rawValue));
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  private consider(texts: readonly string[]): void {
    const labels = new Map<string, Codes>();
    for (const text of texts) {
      const label = findLabel(text);
      if (label) labels.set(`${label.productId}.${label.productKey}`, label);
    }
    const [label] = labels.values();
    if (label && labels.size === 1) {
      keep(label);
      navigator.vibrate?.(60);
      this.stop("asking");
      location.assign(NEXT);
    } else if (label) {
      this.say(this.word("several"));
    } else if (texts[0] !== undefined) {
      this.say(`${this.word("other")} “${shown(texts[0])}”`);
    }
  }

  private async listCameras(track: MediaStreamTrack): Promise<void> {
    const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((one) => one.kind === "videoinput");
    const chosen = track.getSettings().deviceId;
    this.cameras.replaceChildren(
      ...cameras.map((one, index) => {
        const name = one.label || `${this.word("camera")} ${index + 1}`;
        return new Option(name, one.deviceId, false, one.deviceId === chosen);
      }),
    );
    const can = (track.getCapabilities?.() ?? {}) as MediaTrackCapabilities & { torch?: boolean };
    this.light.hidden = !can.torch;
    this.light.setAttribute("aria-pressed", "false");
  }

  private async switchLight(): Promise<void> {
    const on = this.light.getAttribute("aria-pressed") !== "true";
    const [track] = this.stream?.getVideoTracks() ?? [];
    await track?.applyConstraints({ advanced: [{ torch: on } as MediaTrackConstraintSet] });
    this.light.setAttribute("aria-pressed", String(on));
  }
}

// --- photos ----------------------------------------------------------------------------------------------------------

async function smaller(file: File): Promise<File> {
  const picture = await createImageBitmap(file);
  const scale = Math.min(1, PHOTO_PIXELS / Math.max(picture.width, picture.height));
  if (scale === 1 && file.type === "image/jpeg" && file.size <= SMALL_PHOTO_BYTES) return file;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.round(picture.width * scale), Math.round(picture.height * scale)];
  canvas.getContext("2d")?.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
  return blob ? new File([blob], "label.jpg", { type: "image/jpeg" }) : file;
}

async function sendPhoto(chooser: HTMLInputElement): Promise<void> {
  const [file] = chooser.files ?? [];
  const form = chooser.form;
  if (!file || !form) return;
  form.querySelector<HTMLElement>("[data-photo-wait]")?.removeAttribute("hidden");
  try {
    const chosen = new DataTransfer();
    chosen.items.add(await smaller(file));
    chooser.files = chosen.files;
  } catch {
    // a picture this browser cannot open: the server says whether it can
  }
  form.requestSubmit();
}

for (const place of document.querySelectorAll<HTMLElement>("[data-scanner]")) new Scanner(place);
for (const chooser of document.querySelectorAll<HTMLInputElement>("input[data-photo]")) {
  chooser.addEventListener("change", () => void sendPhoto(chooser));
}
for (const button of document.querySelectorAll<HTMLElement>("[data-photo-send]")) button.hidden = true;
