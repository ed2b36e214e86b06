import { createClient } from "@picloud/client";
import { PicloudProvider, useEndpoint, usePicloud, useTopic } from "@picloud/client/react";
import { StrictMode, useMemo } from "react";
import { createRoot } from "react-dom/client";

const url = import.meta.env.VITE_NODE; // such as http://pi.local:7420; the node that the page is from, if not given
const doorbell = createClient({ app: "doorbell", url });
const thermostat = createClient({ app: "thermostat", url });

function Bell() {
  const client = usePicloud();
  const press = useMemo(() => client.endpoint("POST", "/press"), [client]);
  const { run, error } = useEndpoint(press);
  const { data, stale } = useTopic<{ visitors: number }>("chime", { since: "latest" });
  return (
    <p id="bell" style={{ color: stale ? "gray" : "" }}>
      Visitors: <b>{data?.visitors ?? "–"}</b> <button onClick={() => run().catch(() => {})}>Ring</button> {error ? String(error) : ""}
    </p>
  );
}

function Heating() {
  const { data, stale } = useTopic<{ on: boolean }>("heating", { since: "latest" });
  return (
    <p id="heating" style={{ color: stale ? "gray" : "" }}>
      Heating: <b>{data ? (data.on ? "on" : "off") : "–"}</b>
    </p>
  );
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <h1>The house</h1>
    <PicloudProvider client={doorbell}>
      <Bell />
    </PicloudProvider>
    <PicloudProvider client={thermostat}>
      <Heating />
    </PicloudProvider>
  </StrictMode>,
);
