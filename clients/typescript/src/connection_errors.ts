/** Says in words why a connection failed: Node.js shows the raw text of OpenSSL. */

// Such as "...:error:0A00010B:SSL routines:tls_validate_record_header:wrong version number:../deps/...".
const OPENSSL = /error:[0-9A-F]{8}:SSL routines:[^:]*:([^:]+)/i;
// What OpenSSL makes of the first bytes of a server that does not speak TLS.
const NO_TLS = new Set(["wrong version number", "packet length too long", "record layer failure", "http request"]);

/** Returns the text of a failed connection without the raw text of OpenSSL. */
export function connectionFailure(text: string): string {
  const reason = OPENSSL.exec(text)?.[1]?.trim();
  if (reason === undefined) return text;
  if (NO_TLS.has(reason)) return "the server does not speak TLS on this port: check the port, or use http:// in baseUrl";
  return `the TLS handshake failed: ${reason}`;
}
