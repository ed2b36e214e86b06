import { createClient } from "../../src/index.js";
import type { Adapter } from "./run.js";

/** The client of this package. */
export const picloud: Adapter = {
  name: "@picloud/client",
  open(url, listener) {
    const client = createClient({ url, app: "a", share: false });
    client.topic("t").on("event", (event) => listener.event(event.data));
    client.on("error", (error) => error.detail.includes("cannot be read") && listener.event("unreadable"));
    client.on("state", (state) => state.name === "stopped" && listener.end());
    return () => client.close();
  },
};
