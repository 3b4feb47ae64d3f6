/** Files and the clipboard: the only ways by which data leaves the page. */

/** Saves text as a file, under a name. */
export function save(name: string, type: string, pieces: Iterable<string>): void {
  const address = URL.createObjectURL(new Blob([...pieces], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** Copies text, and tells whether the browser allowed it. */
export async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // Browsers have no clipboard on plain HTTP, except on this machine.
  }
}

/** Returns a part of a file's name without characters that file systems refuse. */
export function fileName(text: string): string {
  return text.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[.-]+/, "").slice(0, 80) || "items";
}
