import type { Client, TopicEvent, TopicOptions } from "@picloud/client";
import { createSignal, onCleanup, onMount } from "solid-js";

export function createTopic<T>(client: Client, name: string, options?: TopicOptions<T>) {
  const [last, setLast] = createSignal<TopicEvent<T>>();
  const [state, setState] = createSignal(client.state);
  onMount(() => {
    const topic = client.topic<T>(name, options);
    topic.on("event", (event) => setLast(() => event));
    const off = client.on("state", setState);
    onCleanup(() => (off(), topic.close()));
  });
  return { last, state };
}
