/** What is wrong with a node. */
import { createTablePanel, text, wide } from "../dom/table.js";

/** A panel: `show(problems)` shows those of `problemsOf`. */
export const createProblemPanel = options =>
  createTablePanel(
    "Problems",
    [text("What", ({ what, tone }) => ({ text: what, tone })), wide("Why", "text")],
    options,
  );
