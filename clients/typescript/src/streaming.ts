import { claims } from "./auth.js";
import type { Core } from "./core.js";
import { createLink, fits, type Link, type LinkOwner } from "./link.js";
import { watchPage } from "./page.js";
import { isAfter } from "./position.js";
import { createReading, type Reading } from "./reading.js";
import { stateOf, type State } from "./state.js";
import { beginTimeout } from "./stream.js";
import { shareLink } from "./tabs.js";
import type { Reader } from "./topic.js";

export { history } from "./history.js";

/** The streams of a client: one, unless it reads more topics than fit on one. */
export interface Streaming extends Pick<Link, "input"> {
  /** join puts a topic that is read on a stream. */
  join(reader: Reader): void;
  /** leave takes one off that has ended. */
  leave(reader: Reader): void;
  /** update is called when topics have joined or left. */
  update(): void;
  /** The id up to which all streams have come. */
  cursor(): string | null;
}

/** A stream, and the topics that are read on it, which are the core of it as all topics are that of the client. */
interface Lane extends Core {
  reading: Reading;
  link: Link;
  /** A topic has joined whose newest event is wanted. */
  anew: boolean;
}

/** The states of streams, from the one that a client tells first. */
const order = "waiting connecting paused open stopped idle closed";

/**
 * createStreaming returns the streams of a client: shared with other tabs where that is wanted and can be, and paused and woken by what
 * happens to the page.
 */
export async function createStreaming(core: Core): Promise<Streaming> {
  const { http, path, options } = core;
  const { app, lossless, share = typeof document === "object", pauseWhenHidden } = options;
  const lanes: Lane[] = [];
  let channel = "";
  let paused = false;
  let last: string | null | undefined; // the cursor when the client was closed
  if (share && typeof BroadcastChannel === "function") {
    let timer: ReturnType<typeof setTimeout>;
    const late = new Promise<never>((_, reject) => (timer = setTimeout(reject, beginTimeout)));
    try {
      const token = await Promise.race([http.auth.get(), late]);
      const { sub, topics } = claims(token) ?? {};
      // Tabs that may read the same share: a token that is renewed, or of another tab, has other times only.
      channel = ["picloud", http.base, app, lossless, sub === undefined ? token : sub + topics].join();
    } catch {
      // Without a token it is not known which tabs have the same rights. The stream reports the error.
      http.auth.forget();
    } finally {
      clearTimeout(timer!);
    }
  }

  const makeLink = (owner: LinkOwner): Link => createLink(http, path + "/events", lossless, owner);

  const oldest = (): string | null =>
    lanes.reduce((least: string | null, { reading }) => {
      const cursor = reading.cursor();
      return cursor && (!least || isAfter(least, cursor)) ? cursor : least;
    }, null);

  const open = (): Lane => {
    const lane = {
      ...core,
      readers: new Set(),
      cursor: lanes.every(({ reading }) => reading.restores) ? core.cursor : null,
      changed(state: State) {
        lane.state = state;
        const [first] = lanes.map((each) => each.state).sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
        core.changed(first!, state, lane.readers);
      },
      state: stateOf("idle", false),
    } as Lane;
    const reading = (lane.reading = createReading(lane));
    lane.link = channel ? shareLink(channel, lane, reading, makeLink) : makeLink(reading);
    lanes.push(lane);
    return lane;
  };

  const all: Pick<Link, "input" | "wake"> = {
    input(input) {
      if (input === "close") {
        last = oldest();
        unwatch();
      }
      for (const { link } of lanes) link.input(input);
      paused = input === "pause";
      if (input === "resume") update(); // topics may have joined meanwhile
    },
    wake() {
      for (const { link } of lanes) link.wake();
    },
  };
  const update = (): void => {
    for (const lane of lanes) {
      if (paused && lane.state.name === "idle") continue;
      const { anew } = lane;
      lane.anew = false;
      lane.link.update(anew);
    }
  };
  const unwatch = watchPage(all, pauseWhenHidden === true ? 30_000 : pauseWhenHidden || undefined);

  return {
    join(reader) {
      const lane = lanes.find(({ reading }) => fits([...reading.wants().topics, reader.name])) ?? open();
      lane.readers.add(reader);
      lane.anew ||= reader.latest;
      lane.reading.join(reader);
    },
    leave(reader) {
      for (const { readers } of lanes) readers.delete(reader);
    },
    update,
    cursor: () => (last === undefined ? oldest() : last),
    input: all.input,
  };
}
