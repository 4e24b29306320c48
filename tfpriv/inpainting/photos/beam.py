"""Photographs anonymised by Apache Beam, on as many machines as there are.

A result follows from the settings, the file's name and its content, so that it is the
one that `tfpriv inpaint` writes, to the last byte.
"""

import functools
import json
import threading

from tfpriv.support import extras

with extras.needs("beam"):
    import apache_beam as beam
    from apache_beam.io.filesystems import FileSystems

from tfpriv.inpainting.photos import files
from tfpriv.inpainting.photos.anonymiser import Anonymiser, Settings

RESULTS, FACES, REVIEW = "results", "faces", "review"
_LOADING = threading.Lock()


class AnonymisePhotographs(beam.PTransform):
    """From (name, path) of photographs to their anonymised ones.

    The name is what the file is called in the folder, with slashes: it decides about
    the seed. The path is anything that Beam's file systems read. The outputs are

    * `results`: (name of the result, content of its file),
    * `faces`: (name, list of `boxes.Box`), of each photograph that was looked at,
    * `review`: (name, remark), what somebody should look at: photographs without a
      face, broken ones, and several of one result. Unless `if_no_face` says otherwise
      there is no result for these.

    Args:
        settings: how. Files that they name must be there on each machine.
    """

    def __init__(self, settings: Settings):
        super().__init__()
        self._settings = settings

    def expand(self, photographs):
        """The transform, for Beam."""
        settings = self._settings
        return (
            photographs
            | beam.Map(lambda item: (settings.target(item[0]), tuple(item)))
            # It finds results of one name, and spreads the work over the machines.
            | beam.GroupByKey()
            | beam.ParDo(_Anonymise(settings)).with_outputs(FACES, REVIEW, main=RESULTS)
        )


class _Anonymise(beam.DoFn):
    """One photograph after the other, with networks that are loaded once a process."""

    def __init__(self, settings: Settings):
        super().__init__()
        self._settings = settings

    def setup(self):
        with _LOADING:
            record = json.dumps(self._settings.record())
            self._anonymiser = _anonymiser(self._settings, record)

    def process(self, item):
        """What becomes of the photographs, (name, path), of one result's name."""
        target, photographs = item[0], list(item[1])
        if len(photographs) > 1:
            for name, _ in photographs:
                yield beam.pvalue.TaggedOutput(
                    REVIEW, (name, files.clash(name, target))
                )
            return
        name, path = photographs[0]
        try:
            with FileSystems.open(path) as file:
                content = file.read()
        except OSError as error:
            remark = f"The file cannot be read: {error}"
            yield beam.pvalue.TaggedOutput(REVIEW, (name, remark))
            return
        outcome = self._anonymiser(name, content)
        if outcome.faces is not None:
            yield beam.pvalue.TaggedOutput(FACES, (name, outcome.faces))
        if outcome.remark:
            yield beam.pvalue.TaggedOutput(REVIEW, (name, outcome.remark))
        if outcome.content is not None:
            yield target, outcome.content


@functools.lru_cache(maxsize=1)
def _anonymiser(settings: Settings, record: str) -> Anonymiser:
    """`record` tells files of one name and other content apart."""
    del record
    return Anonymiser(settings)
