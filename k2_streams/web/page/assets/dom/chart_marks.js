/** What lies behind the bars: incomplete spans, hatched so that they show without colour; levels as a
 *  band at the top; and the line at which the lake ends and the tail begins. */

const HATCH_PX = 7,
  BAND_PX = 4,
  LABEL_PX = 10;

export class ChartMarks {
  #host = null;
  #marks = { spans: [], levels: [], boundary: null };
  #colours = {};
  #font = "";
  /** The grid is drawn over what lies at the bottom, and below the line with its words. */
  #views = [
    this.#view("bottom", (context, size) => this.#drawSpans(context, size)),
    this.#view("normal", (context, size) => this.#drawBoundary(context, size)),
  ];

  attached(host) {
    this.#host = host;
  }
  detached() {
    this.#host = null;
  }
  paneViews() {
    return this.#views;
  }

  /** `spans`: `{ from, to }`, bar starts, both inclusive. `levels`: `{ from, to, tone }`.
   *  `boundary`: `{ time, share }` of a bar, or null. */
  show(marks) {
    this.#marks = marks;
    this.#host?.requestUpdate();
  }
  paint(colours, font) {
    this.#colours = colours;
    this.#font = font;
    this.#host?.requestUpdate();
  }

  #view(order, draw) {
    const inPixels = ({ context, mediaSize }) => draw(context, mediaSize);
    const renderer = { draw: target => this.#host && target.useMediaCoordinateSpace(inPixels) };
    return { zOrder: () => order, renderer: () => renderer };
  }

  /** Where a share of a bar lies; null: the bar is not shown. */
  #at(time, share) {
    const scale = this.#host.chart.timeScale(),
      middle = scale.timeToCoordinate(time);
    return middle === null ? null : middle + (share - 0.5) * scale.options().barSpacing;
  }

  #drawSpans(context, { height }) {
    const place = span => ({ ...span, left: this.#at(span.from, 0), right: this.#at(span.to, 1) });
    const shown = spans => spans.map(place).filter(one => one.left !== null && one.right !== null);
    for (const { left, right } of shown(this.#marks.spans))
      this.#hatch(context, left, right, height);
    for (const { left, right, tone } of shown(this.#marks.levels)) {
      context.fillStyle = this.#colours[tone];
      context.fillRect(left, 0, right - left, BAND_PX);
    }
  }

  #hatch(context, left, right, height) {
    context.save();
    context.beginPath();
    context.rect(left, 0, right - left, height);
    context.clip();
    context.fillStyle = this.#colours["span-fill"];
    context.fillRect(left, 0, right - left, height);
    context.strokeStyle = this.#colours["span-line"];
    context.lineWidth = 1;
    context.beginPath();
    for (let x = left - height; x < right; x += HATCH_PX) {
      context.moveTo(x, height);
      context.lineTo(x + height, 0);
    }
    context.stroke();
    context.restore();
  }

  #drawBoundary(context, { width, height }) {
    const { boundary } = this.#marks,
      x = boundary && this.#at(boundary.time, boundary.share);
    if (x === null || x < 0 || x > width) return;
    context.strokeStyle = this.#colours.accent;
    context.lineWidth = 1;
    context.setLineDash([4, 3]);
    context.beginPath();
    context.moveTo(Math.round(x) + 0.5, 0);
    context.lineTo(Math.round(x) + 0.5, height);
    context.stroke();
    context.setLineDash([]);
    context.font = `${LABEL_PX}px ${this.#font}`;
    context.textBaseline = "top";
    this.#label(context, "lake", x - 6 - context.measureText("lake").width);
    this.#label(context, "tail", x + 6);
  }

  /** Words on a ground of their own, so that no line of the grid goes through them. */
  #label(context, words, x) {
    const top = BAND_PX + 4;
    context.fillStyle = this.#colours.surface;
    context.fillRect(x - 2, top - 1, context.measureText(words).width + 4, LABEL_PX + 3);
    context.fillStyle = this.#colours.accent;
    context.fillText(words, x, top);
  }
}
