// Expressions that choose rows of a list: "good", "snr > 5 and (rate < 1 or not MUA)".

const TOKEN = /\s*(?:([()])|(<=|>=|==|!=|<|>|=)|"([^"]*)"|([^\s()<>=!"]+))/y;
const COMPARE = {
  "<": (one, other) => one < other, "<=": (one, other) => one <= other, ">": (one, other) => one > other, ">=": (one, other) => one >= other,
  "=": (one, other) => one === other, "==": (one, other) => one === other, "!=": (one, other) => one !== other,
};

// What a column may be called: its title without the unit of measurement, in one word.
export const nameOfTitle = (title) => title.toLowerCase().replace(/\s*\(.*\)/, "").replace(/[^\p{L}\p{N}]+/gu, "_").replace(/_$/, "");

function tokensOf(text) {
  const tokens = [];
  TOKEN.lastIndex = 0;
  while (text.slice(TOKEN.lastIndex).trim()) {
    const found = TOKEN.exec(text);
    if (!found) throw new Error("a quotation mark or a sign is alone");
    const [, bracket, sign, quoted, word] = found;
    tokens.push({ text: bracket ?? sign ?? quoted ?? word, kind: bracket ? "bracket" : sign ? "sign" : quoted === undefined ? "word" : "quoted" });
  }
  return tokens;
}

// Returns whether a row fulfills an expression, as a function of the row; throws what is wrong with the expression.
// `columns` are {title, value(row)}. A word without a sign is looked for in all texts.
export function matcher(text, columns) {
  const tokens = tokensOf(text);
  const known = new Map(columns.map((column) => [nameOfTitle(column.title), column]));
  const isNext = (word) => tokens[0]?.kind !== "quoted" && tokens[0]?.text.toLowerCase() === word;
  const take = (what) => {
    if (!tokens.length) throw new Error(`${what} is missing at the end`);
    return tokens.shift();
  };

  function any() {
    const parts = [all()];
    while (isNext("or")) parts.push((tokens.shift(), all()));
    return (row) => parts.some((part) => part(row));
  }
  function all() {
    const parts = [one()];
    while (tokens.length && !isNext("or") && !isNext(")")) {
      if (isNext("and")) tokens.shift();
      parts.push(one());
    }
    return (row) => parts.every((part) => part(row));
  }
  function one() {
    if (isNext("not")) {
      tokens.shift();
      const part = one();
      return (row) => !part(row);
    }
    if (isNext("(")) {
      tokens.shift();
      const part = any();
      if (take("a closing bracket").text !== ")") throw new Error("a closing bracket is missing");
      return part;
    }
    const name = take("a word");
    if (["bracket", "sign"].includes(name.kind)) throw new Error(`${name.text} has nothing on its left`);
    return tokens[0]?.kind === "sign" ? comparison(name.text, tokens.shift().text) : containing(name.text);
  }
  function containing(word) {
    const sought = word.toLowerCase();
    return (row) => columns.some(({ value }) => typeof value(row) === "string" && value(row).toLowerCase().includes(sought));
  }
  function comparison(name, sign) {
    const column = known.get(name.toLowerCase());
    if (!column) throw new Error(`there is no ${name}, but ${[...known.keys()].join(", ")}`);
    const wanted = take("a value").text;
    return (row) => {
      const value = column.value(row);
      return typeof value === "string" ? COMPARE[sign](value.toLowerCase(), wanted.toLowerCase()) : COMPARE[sign](value, Number(wanted));
    };
  }

  if (!tokens.length) return () => true;
  const found = any();
  if (tokens.length) throw new Error(`${tokens[0].text} is one too many`);
  return found;
}
