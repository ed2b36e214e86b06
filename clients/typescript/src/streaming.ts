import { claims } from "./auth.js";
import type { Core } from "./core.js";
import { createLink, type Link, type LinkOwner } from "./link.js";
import { watchPage } from "./page.js";
import { createReading, type Reading } from "./reading.js";
import { shareLink } from "./tabs.js";

/** The stream of a client. */
export interface Streaming extends Link, Pick<Reading, "join"> {}

/**
 * createStreaming returns the stream of a client: shared with other tabs where that is wanted and can be, and paused and woken by what
 * happens to the page.
 */
export async function createStreaming(core: Core): Promise<Streaming> {
  const { http, path, options } = core;
  const { app, lossless, share = typeof document === "object", pauseWhenHidden } = options;
  let channel = "";
  if (share && typeof BroadcastChannel === "function") {
    try {
      const token = await http.auth.get();
      const { sub, topics } = claims(token) ?? {};
      // Tabs that may read the same share: a token that is renewed, or of another tab, has other times only.
      channel = ["picloud", http.base, app, lossless, sub === undefined ? token : sub + topics].join();
    } catch {
      // Without a token it is not known which tabs have the same rights. The stream reports the error.
    }
  }
  const reading = createReading(core);
  const makeLink = (owner: LinkOwner): Link => createLink(http, path + "/events", lossless, owner);
  const link = channel ? shareLink(channel, core, reading, makeLink) : makeLink(reading);
  const unwatch = watchPage(link, pauseWhenHidden === true ? 30_000 : pauseWhenHidden || undefined);
  return {
    ...link,
    join: reading.join,
    input(input) {
      if (input === "close") unwatch();
      link.input(input);
    },
  };
}
