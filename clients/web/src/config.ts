/** The file beside the page that names the gateway. */

/** The settings of a console. */
export interface Config {
  /** The address of the gateway, without a slash at its end. */
  readonly gateway: string;
}

/**
 * Returns the settings in `config.json`; without a gateway in it, the page's own origin is the gateway.
 *
 * @throws Error with a text for people.
 */
export async function loadConfig(): Promise<Config> {
  const response = await fetch("config.json", { cache: "no-store", credentials: "omit" });
  if (!response.ok) throw new Error(`config.json: the server answered ${response.status}`);
  let content: unknown;
  try {
    content = await response.json();
  } catch {
    throw new Error("config.json is not JSON");
  }
  const { gateway } = (content ?? {}) as { gateway?: unknown };
  if (gateway === undefined || gateway === "") return { gateway: location.origin };
  if (typeof gateway !== "string" || !/^https?:\/\//.test(gateway) || !URL.canParse(gateway)) {
    throw new Error('config.json: "gateway" is an address such as "https://gateway.example.com"');
  }
  return { gateway: gateway.replace(/\/+$/, "") };
}
