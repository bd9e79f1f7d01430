// Keeps a page answering while scripts work: long work in pieces, and nothing made before somebody needs it.
interface Scheduler {
  yield?: () => Promise<void>;
}

// Between two pieces: the browser takes what fingers do, and draws.
export function pause(): Promise<void> {
  const { scheduler } = globalThis as { scheduler?: Scheduler };
  return scheduler?.yield?.() ?? new Promise((resolve) => setTimeout(resolve));
}

// When what came with the page has been drawn.
export function drawn(): Promise<void> {
  return new Promise((resolve) => {
    if (document.hidden) resolve();
    else requestAnimationFrame(() => setTimeout(resolve));
  });
}

// A formatter for dates takes milliseconds to make.
export function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
