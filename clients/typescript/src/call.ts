import { asError, TimeoutError } from "./errors.js";
import { type Http, send } from "./http.js";

/** What a single request may be told. */
export interface CallOptions {
  /** Ends the request; it is then not certain whether it took effect. */
  signal?: AbortSignal | undefined;
  /** Milliseconds until a TimeoutError; none: as long as it takes. */
  timeout?: number | undefined;
}

/**
 * call sends a request and returns the body of its answer, if that is a success: a value where it is JSON, undefined where
 * it is empty, else text. An abort by the caller is thrown as the caller's reason.
 */
export async function call<T>(http: Http, path: string, init: RequestInit, { signal, timeout }: CallOptions = {}): Promise<T> {
  const abort = new AbortController();
  const onAbort = (): void => abort.abort(signal!.reason);
  if (signal?.aborted) onAbort();
  signal?.addEventListener("abort", onAbort);
  const timer = timeout && setTimeout(() => abort.abort(new TimeoutError("timeout", "no answer in " + timeout + " ms")), timeout);
  try {
    const [res] = await send(http, path, { ...init, signal: abort.signal });
    const text = await res.text();
    return text && res.headers.get("Content-Type")?.includes("json") ? JSON.parse(text) : ((text || undefined) as T);
  } catch (thrown) {
    if (abort.signal.aborted) throw abort.signal.reason ?? thrown;
    throw asError(thrown);
  } finally {
    clearTimeout(timer as number);
    signal?.removeEventListener("abort", onAbort);
  }
}
