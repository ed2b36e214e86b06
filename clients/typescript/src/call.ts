import { asError, NetworkError, TimeoutError } from "./errors.js";
import { type Http, send } from "./http.js";

/** Options of a single request. */
export interface CallOptions {
  /** Ends the request; it is then not certain whether it took effect. */
  signal?: AbortSignal | undefined;
  /** Milliseconds until a TimeoutError; none, or 0: as long as it takes. */
  timeout?: number | undefined;
}

type Options = CallOptions & { idempotencyKey?: string | undefined };

/** The longest time of a timer, in milliseconds: a longer one ends at once. */
export const longestTimer = 2 ** 31 - 1;

/**
 * call sends a request, with a body of JSON if it has one, and returns that of its answer, if that is a success: a value where it is JSON, undefined where
 * it is empty, else text. An abort by the caller is thrown as the caller's reason.
 */
export async function call<T>(http: Http, path: string, init: RequestInit, { signal, timeout, idempotencyKey: key }: Options = {}): Promise<T> {
  const headers = new Headers(init.headers);
  if (init.body) headers.set("Content-Type", "application/json");
  if (key !== undefined) headers.set("Idempotency-Key", key);
  const abort = new AbortController();
  const aborted = new Promise<never>((_, reject) => abort.signal.addEventListener("abort", reject)); // a token may be long in coming
  const onAbort = (): void => abort.abort(signal!.reason);
  if (signal?.aborted) onAbort();
  signal?.addEventListener("abort", onAbort);
  const timer = timeout && timeout <= longestTimer ? setTimeout(() => abort.abort(new TimeoutError("timeout", "no answer in " + timeout + " ms")), timeout) : undefined;
  try {
    const [res] = await Promise.race([aborted, send(http, path, { ...init, headers, signal: abort.signal })]);
    const text = await res.text();
    return text && res.headers.get("Content-Type")?.includes("json") ? JSON.parse(text) : ((text || undefined) as T);
  } catch (thrown) {
    if (abort.signal.aborted) throw abort.signal.reason ?? thrown;
    throw asError(thrown);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

/** ask is call for the node's own API. What `is` does not take for its answer comes from something else, such as the page of a portal. */
export async function ask<T>(http: Http, path: string, init: RequestInit, options: Options | undefined, is: (answer: T) => unknown): Promise<T> {
  const answer = await call<T>(http, path, init, options);
  if (!answer || !is(answer)) throw new NetworkError("no-node", "no answer of a node: check the url");
  return answer;
}
