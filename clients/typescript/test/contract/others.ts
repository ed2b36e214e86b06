import { EventStreamContentType, fetchEventSource } from "@microsoft/fetch-event-source";
import { EventSource } from "eventsource";
import { type Adapter, dataOf } from "./run.js";

const path = "/v1/apps/a/events?topic=t";

/** The npm package eventsource: the interface of browsers for Node.js. */
export const eventsource: Adapter = {
  name: "eventsource",
  open(url, listener) {
    const source = new EventSource(url + path);
    source.onmessage = ({ data }) => listener.event(dataOf(data));
    source.onerror = () => source.readyState === source.CLOSED && listener.end();
    return () => source.close();
  },
};

class Fatal extends Error {}

/** The npm package @microsoft/fetch-event-source, used as its README shows it: without that it does not come back after an end, and never stops at a 404. */
export const fetchSource: Adapter = {
  name: "@microsoft/fetch-event-source",
  open(url, listener) {
    const abort = new AbortController();
    void fetchEventSource(url + path, {
      signal: abort.signal,
      fetch: globalThis.fetch,
      openWhenHidden: true,
      async onopen(res) {
        if (res.ok && res.headers.get("content-type") === EventStreamContentType) return;
        if (res.status >= 400 && res.status < 500 && res.status !== 429) throw new Fatal();
        throw new Error("again");
      },
      onmessage: ({ event, data }) => void ((event === "" || event === "message") && listener.event(dataOf(data))),
      onclose() {
        throw new Error("again");
      },
      onerror(error) {
        if (error instanceof Fatal) throw error;
      },
    }).then(listener.end, listener.end);
    return () => abort.abort();
  },
};
