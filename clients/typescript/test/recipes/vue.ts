import type { Client, TopicEvent, TopicOptions } from "@picloud/client";
import { onMounted, onUnmounted, shallowRef } from "vue";

export function useTopic<T>(client: Client, name: string, options?: TopicOptions<T>) {
  const last = shallowRef<TopicEvent<T>>();
  const state = shallowRef(client.state);
  let end = () => {};
  onMounted(() => {
    const topic = client.topic<T>(name, options);
    topic.on("event", (event) => (last.value = event));
    const off = client.on("state", (now) => (state.value = now));
    end = () => (off(), topic.close());
  });
  onUnmounted(() => end());
  return { last, state };
}
