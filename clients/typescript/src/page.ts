/** What a page does to a client. */
export interface PageListener {
  /** The network may be back, or the page is looked at again. */
  wake(): void;
  /** The page is frozen, left, or hidden for longer than it is to be read. */
  pause(): void;
  resume(): void;
}

/**
 * watchPage tells what happens to the page, if there is one, until the function that it returns is called. A page that is
 * left has to let its stream go: otherwise the browser does not keep it for the way back.
 *
 * @param hiddenFor milliseconds for which the page may be hidden before it pauses; undefined: as long as it likes
 */
export function watchPage(listener: PageListener, hiddenFor: number | undefined): () => void {
  const page = globalThis.document;
  if (!page?.addEventListener) return () => {};
  let timer: ReturnType<typeof setTimeout> | undefined;
  const onResume = (): void => {
    clearTimeout(timer);
    listener.resume();
    listener.wake();
  };
  const onVisibility = (): void => {
    if (page.visibilityState !== "hidden") onResume();
    else if (hiddenFor !== undefined) timer = setTimeout(listener.pause, hiddenFor);
  };
  const all: [EventTarget, string, () => void][] = [
    [globalThis, "online", listener.wake],
    [globalThis, "pageshow", onResume],
    [globalThis, "pagehide", listener.pause],
    [page, "resume", onResume],
    [page, "freeze", listener.pause],
    [page, "visibilitychange", onVisibility],
  ];
  for (const [target, kind, f] of all) target.addEventListener(kind, f);
  return () => {
    clearTimeout(timer);
    for (const [target, kind, f] of all) target.removeEventListener(kind, f);
  };
}
