/** What lies behind the bars: incomplete spans, hatched so that they show without colour; levels as a
 *  band at the top; and the line at which the lake ends and the tail begins. */

const HATCH_PX = 7,
  BAND_PX = 4,
  LABEL_PX = 10;

const viewOf = (order, draw) => ({ zOrder: () => order, renderer: () => ({ draw }) });

export class ChartMarks {
  #host = null;
  /** The grid is drawn over what lies at the bottom, and below the line with its words. */
  #views = [
    viewOf("bottom", target => this.#drawSpans(target)),
    viewOf("normal", target => this.#drawBoundary(target)),
  ];
  #marks = { spans: [], levels: [], boundary: null };
  #colours = {};

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
  show(marks, colours) {
    this.#marks = marks;
    this.#colours = colours;
    this.#host?.requestUpdate();
  }

  /** Where a share of a bar lies; null: the bar is not shown. */
  #at(time, share) {
    const scale = this.#host.chart.timeScale(),
      middle = scale.timeToCoordinate(time);
    return middle === null ? null : middle + (share - 0.5) * scale.options().barSpacing;
  }

  #drawSpans(target) {
    if (!this.#host) return;
    target.useMediaCoordinateSpace(({ context, mediaSize }) => {
      for (const { from, to } of this.#marks.spans)
        this.#hatch(context, this.#at(from, 0), this.#at(to, 1), mediaSize.height);
      for (const { from, to, tone } of this.#marks.levels) {
        const left = this.#at(from, 0),
          right = this.#at(to, 1);
        if (left === null || right === null) continue;
        context.fillStyle = this.#colours[tone];
        context.fillRect(left, 0, right - left, BAND_PX);
      }
    });
  }

  #drawBoundary(target) {
    const { boundary } = this.#marks;
    if (!this.#host || !boundary) return;
    target.useMediaCoordinateSpace(({ context, mediaSize }) =>
      this.#line(context, this.#at(boundary.time, boundary.share), mediaSize),
    );
  }

  #hatch(context, left, right, height) {
    if (left === null || right === null) return;
    context.save();
    context.beginPath();
    context.rect(left, 0, right - left, height);
    context.clip();
    context.fillStyle = this.#colours.spanFill;
    context.fillRect(left, 0, right - left, height);
    context.strokeStyle = this.#colours.spanLine;
    context.lineWidth = 1;
    context.beginPath();
    for (let x = left - height; x < right; x += HATCH_PX) {
      context.moveTo(x, height);
      context.lineTo(x + height, 0);
    }
    context.stroke();
    context.restore();
  }

  /** Words on a ground of their own, so that no line of the grid goes through them. */
  #label(context, words, x) {
    const top = BAND_PX + 4;
    context.fillStyle = this.#colours.surface;
    context.fillRect(x - 2, top - 1, context.measureText(words).width + 4, LABEL_PX + 3);
    context.fillStyle = this.#colours.boundary;
    context.fillText(words, x, top);
  }

  #line(context, x, { width, height }) {
    if (x === null || x < 0 || x > width) return;
    context.strokeStyle = context.fillStyle = this.#colours.boundary;
    context.lineWidth = 1;
    context.setLineDash([4, 3]);
    context.beginPath();
    context.moveTo(Math.round(x) + 0.5, 0);
    context.lineTo(Math.round(x) + 0.5, height);
    context.stroke();
    context.setLineDash([]);
    context.font = `${LABEL_PX}px ${this.#colours.font}`;
    context.textBaseline = "top";
    this.#label(context, "lake", x - 6 - context.measureText("lake").width);
    this.#label(context, "tail", x + 6);
  }
}
