// Keys and values are bytes. As text, what isn't printable is written as an escape, so that nothing hides.

export function fromBase64(string) {
  return Uint8Array.from(atob(string), (letter) => letter.charCodeAt(0));
}

export function toBase64(bytes) {
  let string = "";
  for (const byte of bytes) string += String.fromCharCode(byte);
  return btoa(string);
}

export function parseHex(string) {
  const digits = string.replace(/^0x/i, "").replace(/[\s:]/g, "");
  if (digits.length % 2 !== 0 || /[^0-9a-f]/i.test(digits)) throw new Error("bytes in hex are pairs of 0-9 and a-f");
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

// `body[name]` or `body[name + "Base64"]`
export function bytesOf(body, name) {
  if (typeof body[name] === "string") return new TextEncoder().encode(body[name]);
  if (typeof body[`${name}Base64`] === "string") return fromBase64(body[`${name}Base64`]);
  return null;
}

// Controls, and letters that turn the direction of writing or have no width.
const hiding = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

function escapeLetter(letter) {
  const named = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[letter];
  const code = letter.charCodeAt(0);
  return named ?? (code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`);
}

export function asText(bytes) {
  try {
    const string = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return string.replaceAll("\\", "\\\\").replace(hiding, escapeLetter);
  } catch {
    let string = "";
    for (const byte of bytes) {
      const letter = String.fromCharCode(byte);
      string += byte === 0x5c ? "\\\\" : byte >= 0x20 && byte < 0x7f ? letter : escapeLetter(letter);
    }
    return string;
  }
}

export function asHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}
