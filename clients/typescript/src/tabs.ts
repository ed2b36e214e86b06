import type { Core } from "./core.js";
import { fits, type Link, type LinkOwner, type Wants } from "./link.js";
import { next } from "./machine.js";
import type { Frame } from "./parser.js";
import { isAfter, sameEpoch } from "./position.js";
import { type State, stateOf } from "./state.js";

/** What a tab is for the others: nothing, looking for a leader, leading, or reading what the leader reads. */
type Role = "none" | "seek" | "lead" | "follow";

/** What a tab wants of the leader. */
interface Ask extends Wants {
  /** Topics whose newest event is to come once, although others have had it. */
  fresh: string[];
  /** The leader's stream that it reads; 0: none yet. */
  stream: number;
}

/** What the leader says. */
interface Lead {
  /** Counts leaders: the higher one is the right one. */
  term: number;
  /** Counts streams of this leader; 0: none yet. */
  stream: number;
  state: State;
  /** On the stream. */
  topics: string[];
  /** Topics whose newest event comes first, if the stream begins here. */
  latest: string[];
  /** The cursor before `frames`. */
  at: string | null;
  /** The newest id when the stream began. */
  newest: string | null;
  frames: Frame[];
}

type Message = { from: string } & ({ ask: Ask } | { lead: Lead } | { bye: true } | { to: string });

/** How long a leader may take to answer, in milliseconds: it answers from the handler of the message. */
const answerTimeout = 300;

/** How often followers ask, in milliseconds. */
const interval = 1000;

/** For how long, in milliseconds, a leader believes in a follower that says nothing: timers of hidden tabs run once a minute. */
const memory = 150_000;

/**
 * shareLink returns a link whose stream is that of one of the tabs that have the same channel, by a BroadcastChannel, also where a page has
 * no Web Locks: over plain HTTP.
 *
 * The election saves connections, it does not keep events right. Each tab has its own cursor and cuts what it has by ids, so that two leaders
 * for a moment cost a connection and no leader costs time. A tab reads a leader's stream only from where its own cursor is, or before; otherwise
 * it asks, and the leader begins its stream anew from there.
 *
 * A tab whose topics do not fit on the leader's stream, or are refused by the node, is sent on to the next channel, where such tabs elect a leader of
 * their own. It is back on the first one when it has read nothing for a moment.
 */
export function shareLink(channelName: string, core: Core, owner: LinkOwner, makeLink: (owner: LinkOwner) => Link): Link {
  let channel: BroadcastChannel;
  let number: number; // of the channel
  const id = Date.now().toString(36) + Math.random().toString(36); // older tabs first
  const followers = new Map<string, { ask: Ask; heard: number }>();
  let role: Role = "none";
  let term = 0;
  let leader = ""; // that is followed
  let stream = 0; // of the leader, that is read; of this tab, while it leads
  let carried: string[] = []; // by it
  let fresh: string[] = [];
  let at: string | null = null;
  let newest: string | null = null; // when the stream of this tab began
  let heard = false; // the leader, since it was asked
  let timer: ReturnType<typeof setTimeout>;

  const post = (message: object): void => channel.postMessage({ from: id, ...message });

  const ask = (): void => {
    const { topics, latest, cursor } = owner.wants();
    fresh = fresh.filter((topic) => latest.includes(topic)); // others have been closed meanwhile
    post({ ask: { topics: role === "none" ? [] : topics, latest, fresh, cursor: stream ? null : cursor, stream } });
  };

  const say = (frames: Frame[] = [], latest: string[] = []): void => {
    const { error: _, ...state } = core.state; // errors lose their class between tabs
    if (role === "lead") post({ lead: { term, stream, state, topics: carried, latest, at, newest, frames } });
  };

  const show = (state: State): void => {
    const { name, since } = core.state;
    if (state.name !== name || state.since !== since) owner.changed(state);
  };

  const seek = (wait = answerTimeout / 3): void => {
    role = "seek";
    stream = 0;
    carried = [];
    fresh = owner.wants().latest;
    clearTimeout(timer);
    timer = setTimeout(claim, wait);
    ask();
    show(stateOf("connecting", false));
  };

  const claim = (): void => {
    role = "lead";
    term++;
    serve();
  };

  /** dismiss sends a follower on to the next channel. */
  const dismiss = (name: string): void => {
    followers.delete(name);
    post({ to: name });
  };

  /**
   * serve has the stream carry what this tab and its followers want; those whose topics do not fit are dismissed, the newest first. It does so now and
   * then, since a follower that has crashed says nothing.
   *
   * @param again the stream has to begin anew, for the follower `from` if there is one
   */
  const serve = (again?: boolean, from?: string): void => {
    let { topics } = owner.wants();
    for (const [name, { ask }] of followers) {
      const more = [...topics, ...ask.topics];
      if (fits(more)) topics = more;
      else dismiss(name);
    }
    clearTimeout(timer);
    timer = setTimeout(serve, memory);
    link.update(again && (!from || followers.has(from)));
  };

  /** listen asks the leader now and then whether it is there. */
  const listen = (wait = interval): void => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      heard = false;
      ask();
      timer = setTimeout(() => (heard ? listen() : seek(answerTimeout)), answerTimeout);
    }, wait);
  };

  const onAsk = (from: string, wish: Ask): void => {
    if (role === "seek" && !wish.stream && wish.topics.length && from < id) {
      clearTimeout(timer);
      timer = setTimeout(claim, 2 * answerTimeout); // the older one is going to lead
    }
    const before = followers.get(from)?.ask;
    followers.delete(from); // whose topics are the newest
    if (wish.topics.length) followers.set(from, { ask: wish, heard: Date.now() });
    if (role !== "lead") return;
    const same = JSON.stringify(before) === JSON.stringify(wish);
    const served = wish.topics.every((topic) => carried.includes(topic)) && !wish.fresh.length && !older(wish.cursor);
    if (same || (served && wish.topics.length)) say();
    else serve(!served, from);
  };

  /** older reports whether a cursor is before where the stream is. */
  const older = (cursor: string | null): boolean => !!cursor && !!at && sameEpoch(at, cursor) && isAfter(at, cursor);

  const onLead = (from: string, lead: Lead): void => {
    if (lead.term < term || (lead.term === term && role === "lead" && id < from)) return say(); // to the wrong leader
    term = lead.term;
    if (role === "none") return;
    if (role !== "follow" || leader !== from) {
      const led = role === "lead";
      role = "follow";
      leader = from;
      stream = 0;
      carried = [];
      if (led) link.update();
      listen();
    }
    heard = true;
    const { topics, cursor } = owner.wants();
    at = lead.at;
    const begins = stream !== lead.stream;
    if (begins) {
      const whole = topics.every((topic) => lead.topics.includes(topic)) && fresh.every((topic) => lead.latest.includes(topic));
      if (!lead.stream || !whole || older(cursor)) {
        if (stream) {
          stream = 0;
          ask(); // for what is missing
        }
        return;
      }
      stream = lead.stream;
      carried = lead.topics;
      fresh = [];
      ask();
    }
    show({ ...lead.state, leader: false });
    if (begins && lead.frames[0]?.event !== "hello") {
      const frame = (event: string, body: object): Frame => ({ event, data: JSON.stringify(body) });
      const foreign = !!cursor && !!at && !sameEpoch(at, cursor);
      const history = at && isAfter(at, lead.newest) ? at : lead.newest;
      lead.frames.unshift(frame("hello", { resume: at, newest: history, resumed: !!cursor && !foreign }));
      if (foreign) lead.frames.splice(1, 0, frame("reset", { reason: "foreign", position: at }));
    }
    if (lead.frames.length) owner.frames(lead.frames, lead);
  };

  /** tune goes to a channel. */
  const tune = (to: number): void => {
    number = to;
    channel = new BroadcastChannel(channelName + to);
    channel.onmessage = ({ data }: MessageEvent<Message>) => {
      const { from } = data;
      if ("ask" in data) onAsk(from, data.ask);
      else if ("lead" in data) onLead(from, data.lead);
      else if ("to" in data) {
        if (data.to !== id || role === "none") return;
        leave(number + 1);
        seek();
      } else if (role === "follow" && from === leader) seek();
    };
  };

  /** leave says goodbye to the others, ends a stream of this tab, and goes to a channel. */
  const leave = (to = 0): void => {
    clearTimeout(timer);
    if (role === "lead") post({ bye: true });
    role = "none";
    stream = 0;
    carried = [];
    ask();
    link.update();
    if (to === number) return;
    channel.close();
    followers.clear();
    term = 0;
    tune(to);
  };

  tune(0);
  const link = makeLink({
    wants() {
      const own = owner.wants();
      for (const [name, { heard }] of followers) if (Date.now() - heard > memory) followers.delete(name);
      if (role !== "lead") return { ...own, topics: [] };
      const asks = [own, ...[...followers.values()].map(({ ask }) => ask)];
      const union = (key: "topics" | "latest"): string[] => [...new Set(asks.flatMap((wish) => wish[key]))].sort();
      let cursor: string | null = null; // the oldest of the history of the first
      for (const wish of asks) {
        if (!cursor) ({ cursor } = wish);
        else if (wish.cursor && sameEpoch(wish.cursor, cursor) && isAfter(cursor, wish.cursor)) ({ cursor } = wish);
      }
      return { topics: union("topics"), latest: union("latest"), cursor };
    },
    frames(frames, asked) {
      const [first] = frames;
      if (first!.event === "hello") {
        stream++;
        carried = asked.topics;
        ({ resume: at, newest } = JSON.parse(first!.data!));
        say(frames, asked.latest);
      } else say(frames);
      for (const { id } of frames) if (id && isAfter(id, at)) at = id;
      owner.frames(frames, asked);
    },
    refuse(topics, error) {
      for (const [name, { ask }] of followers) if (ask.topics.some((topic) => topics.includes(topic))) dismiss(name);
      owner.refuse(topics, error);
    },
    changed(state) {
      if (role !== "lead") return; // the state is that of the leader
      owner.changed(state);
      if (state.name === "stopped") leave();
      say();
    },
  });

  return {
    update(again) {
      const { topics, latest } = owner.wants();
      const { name } = core.state;
      if (again) fresh = latest;
      if (!topics.length) {
        leave(); // another tab goes on
        if (next(name, "unsubscribe")) show(stateOf("idle", false));
      } else if (role === "lead") serve(again);
      else if (role !== "none") ask();
      else if (next(name, "subscribe")) seek();
    },
    wake() {
      if (role === "follow") listen(0);
      link.wake();
    },
    input(input) {
      const to = next(core.state.name, input);
      if (!to) return;
      if (input === "resume") return seek();
      leave();
      if (input === "close") channel.close();
      show(stateOf(to, false));
    },
  };
}
