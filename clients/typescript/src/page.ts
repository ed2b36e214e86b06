import type { Link } from "./link.js";

/**
 * watchPage tells a link what happens to the page, if there is one, until the function that it returns is called. A page that is
 * left has to let its stream go: otherwise the browser does not keep it for the way back.
 *
 * @param hiddenFor milliseconds for which the page may be hidden before it pauses; undefined: as long as it likes
 */
export function watchPage(link: Pick<Link, "input" | "wake">, hiddenFor: number | undefined): () => void {
  const page = globalThis.document;
  if (!page?.addEventListener) return () => {};
  let timer: ReturnType<typeof setTimeout> | undefined;
  const onPause = (): void => link.input("pause");
  const onResume = (): void => {
    clearTimeout(timer);
    link.input("resume");
    link.wake();
  };
  const onVisibility = (): void => {
    if (page.visibilityState !== "hidden") onResume();
    else if (hiddenFor !== undefined) timer = setTimeout(onPause, hiddenFor);
  };
  const all: [EventTarget, string, () => void][] = [
    [globalThis, "online", link.wake],
    [globalThis, "pageshow", onResume],
    [globalThis, "pagehide", onPause],
    [page, "resume", onResume],
    [page, "freeze", onPause],
    [page, "visibilitychange", onVisibility],
  ];
  for (const [target, kind, f] of all) target.addEventListener(kind, f);
  return () => {
    clearTimeout(timer);
    for (const [target, kind, f] of all) target.removeEventListener(kind, f);
  };
}
