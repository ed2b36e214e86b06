/**
 * `@picloud/client/react`: hooks for React 18 and 19. Nothing is subscribed while rendering, and nothing on a server.
 *
 * @packageDocumentation
 */
import { createContext, createElement, type ReactElement, type ReactNode, useCallback, useContext } from "react";
import { useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import type { Client } from "./client.js";
import type { Endpoint, RequestOptions } from "./endpoint.js";
import { jsonOf } from "./http.js";
import { validate } from "./validate.js";
import { type TopicView, type ViewOptions, watch } from "./watch.js";

export type { TopicView, ViewOptions } from "./watch.js";

const Context = createContext<Client | undefined>(undefined);

/** PicloudProvider gives its children a client, which its maker closes. */
export function PicloudProvider({ client, children }: { client: Client; children?: ReactNode }): ReactElement {
  return createElement(Context.Provider, { value: client }, children);
}

/** usePicloud returns the client of the provider above. */
export function usePicloud(): Client {
  const client = useContext(Context);
  if (!client) throw new Error("usePicloud, useTopic: there is no <PicloudProvider client={…}> above this component");
  return client;
}

/** What useTopic may be told. */
export interface UseTopicOptions<D, T> extends ViewOptions<D, T> {
  /** Do not read now. */
  skip?: boolean | undefined;
}

/**
 * useTopic reads a topic while the component is shown. `initial`, `since`, `mode` and `buffer` count when it begins, for each name anew; `validate`,
 * `onInvalid` and `reduce` may be other functions each time without a new subscription.
 */
export function useTopic<T = unknown, D = T>(name: string, options: UseTopicOptions<D, T> = {}): TopicView<D, T> {
  const client = usePicloud();
  const newest = useRef(options);
  useEffect(() => {
    newest.current = options;
  });
  const store = useMemo(() => {
    const { initial, since, mode, buffer, reduce } = options; // of the render that has this name: an effect has not run
    return watch<D, T>(client, name, {
      initial,
      since,
      mode,
      buffer,
      validate: (value) => validate(newest.current.validate, value) as T,
      onInvalid: (error, event) => newest.current.onInvalid?.(error, event),
      reduce: reduce && ((data, event) => (newest.current.reduce ?? reduce)(data, event)),
    });
  }, [client, name]);
  const { skip } = options;
  const subscribe = useCallback((listener: () => void) => (skip ? () => {} : store.subscribe(listener)), [store, skip]);
  const [atFirst] = useState(() => store.view); // what a server has rendered
  return useSyncExternalStore(subscribe, () => store.view, () => atFirst);
}

/** What useEndpoint returns. */
export interface EndpointView<Req, Res> {
  readonly data: Res | undefined;
  readonly error: unknown;
  readonly loading: boolean;
  /** run asks once more. Of several answers that of the last call counts. */
  run(req: Req, options?: RequestOptions): Promise<Res>;
  /** abort ends the request under way, whose `run` is rejected; `data` and `error` stay. */
  abort(): void;
}

/** useEndpoint asks an endpoint when it is told to by `run`, or with `args` when the component is shown and when they change (by value, as JSON). */
export function useEndpoint<Req, Res>(endpoint: Endpoint<Req, Res>, args?: Req, { skip = false }: { skip?: boolean | undefined } = {}): EndpointView<Req, Res> {
  const [view, setView] = useState<{ data: Res | undefined; error: unknown; loading: boolean }>({ data: undefined, error: undefined, loading: false });
  const newest = useRef(endpoint);
  useEffect(() => {
    newest.current = endpoint;
  });
  const current = useRef<AbortController | undefined>(undefined);
  const abort = useCallback(() => {
    current.current?.abort();
    current.current = undefined;
    setView((before) => (before.loading ? { ...before, loading: false } : before));
  }, []);
  const run = useCallback(async (req: Req, options?: RequestOptions): Promise<Res> => {
    abort();
    const own = (current.current = new AbortController());
    const { signal } = options ?? {};
    const onAbort = (): void => own.abort(signal!.reason);
    if (signal?.aborted) onAbort();
    signal?.addEventListener("abort", onAbort);
    const settle = (change: Partial<{ data: Res; error: unknown }>): void => {
      if (current.current === own) setView((before) => ({ data: before.data, error: undefined, ...change, loading: false }));
    };
    setView((before) => ({ ...before, loading: true }));
    try {
      const data = await newest.current(req, { ...options, signal: own.signal });
      settle({ data });
      return data;
    } catch (error) {
      settle({ error });
      throw error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }, []);
  let key: string | undefined;
  let invalid: unknown; // a component that shows an error is better than one that throws
  try {
    key = skip || args === undefined ? undefined : jsonOf(args);
  } catch (thrown) {
    invalid = thrown;
  }
  useEffect(() => {
    if (key !== undefined) run(JSON.parse(key) as Req).catch(() => {}); // told by `error`
    return abort;
  }, [key]);
  return { ...view, error: invalid ?? view.error, run, abort };
}
