// Several scenarios of one client in one process, all at once: starting Node.js takes longer than most of them.

import { main, say } from "./talk.mjs";

/**
 * Play those of `scenarios` that the command line names (`all`: every one but those of draining), each with a `say` of its own, whose
 * lines name it. One that fails says `{ scenario, failed }` and leaves the others alone. The command line is
 * `SCRIPT URL SCENARIO ARGUMENT...`; `prepare(URL, ARGUMENT...)` is called before.
 */
export function play(scenarios, prepare) {
  return main(async (url, wanted, ...more) => {
    prepare(url, ...more);
    const names = wanted === "all" ? Object.keys(scenarios).filter((name) => !name.startsWith("drain")) : [wanted];
    await Promise.all(
      names.map(async (scenario) => {
        try {
          await scenarios[scenario]((line) => say({ scenario, ...line }));
        } catch (error) {
          say({ scenario, failed: `${error?.stack ?? error}` });
        }
      }),
    );
  });
}
