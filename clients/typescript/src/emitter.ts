/** A set of listeners for each kind of event in M. */
export interface Emitter<M> {
  /** on calls listener for each event of a kind until the function that it returns is called, which says whether it was the first call. */
  on<K extends keyof M>(kind: K, listener: (event: M[K]) => void): () => boolean;
  /** emit calls the listeners that a kind has now, in the order in which they came, before it returns. */
  emit<K extends keyof M>(kind: K, event: M[K]): void;
}

/** createEmitter returns an Emitter without listeners. A listener that throws does not keep the others from being called. */
export function createEmitter<M>(): Emitter<M> {
  const listeners: { [K in keyof M]?: Set<(event: M[K]) => void> } = {};
  return {
    on(kind, listener) {
      const own: typeof listener = (event) => listener(event); // the same function may listen twice
      const all = (listeners[kind] ??= new Set());
      all.add(own);
      return () => all.delete(own);
    },
    emit(kind, event) {
      for (const listener of [...(listeners[kind] ?? [])]) {
        try {
          if (listeners[kind]!.has(listener)) listener(event); // another one may have taken it off
        } catch (thrown) {
          queueMicrotask(() => {
            throw thrown; // as errors of a browser's listeners do, to where the page or process reports them
          });
        }
      }
    },
  };
}
