/** Parses an answer. An integer beyond what a number holds exactly stays text, where the browser
 *  gives its source. */
export const parseJson = text =>
  JSON.parse(text, (_key, value, context) =>
    Number.isInteger(value) && !Number.isSafeInteger(value) ? (context?.source ?? value) : value,
  );
