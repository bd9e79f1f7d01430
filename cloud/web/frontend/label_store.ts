// Where this tab keeps a label's codes until they are used: they outlive log-in and sign-up, and no server sees them.
import type { Codes } from "./label_text";

const NAME = "smartconnect.label";
const LIFETIME_MS = 3_600_000;

interface Kept extends Codes {
  readonly atMs: number;
}

export function keep(codes: Codes): void {
  const kept: Kept = { productId: codes.productId, productKey: codes.productKey, atMs: Date.now() };
  sessionStorage.setItem(NAME, JSON.stringify(kept));
}

export function kept(): Codes | null {
  const text = sessionStorage.getItem(NAME);
  if (!text) return null;
  try {
    const label = JSON.parse(text) as Kept;
    if (Math.abs(Date.now() - label.atMs) < LIFETIME_MS) return label;
  } catch {
    // not ours: forget it
  }
  forget();
  return null;
}

export function forget(): void {
  sessionStorage.removeItem(NAME);
}
