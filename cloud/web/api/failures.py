"""Errors that services raise on purpose → problems with stable codes."""

import contextlib
from collections.abc import Iterator

from cloud.core.authz import NotAllowedError
from cloud.core.command import Step
from cloud.core.language import gettext
from cloud.core.refusal import RefusedError
from cloud.services.acting import OwningError
from cloud.services.claiming import UnknownClaimError, UnknownKeyError
from cloud.services.commanding import CommandRefusedError, UnknownCommandError
from cloud.services.idempotency import KeyInUseError, KeyReusedError
from cloud.services.naming import ProfileError, UnknownDeviceError
from cloud.services.scheduling import ScheduleError
from cloud.services.settings import SettingsRefusedError
from cloud.web.command_words import refusal_text
from cloud.web.owner_facts import PROBLEMS
from cloud.web.problems import Problem, ProblemCode
from cloud.web.refusals import problem_of
from cloud.web.setting_words import fault_text


def command_problem(refused: CommandRefusedError) -> Problem:
    """The first step that is missing names the problem; all of them are told."""
    missing = refused.missing
    retry_after_s = 60 if missing[0] is Step.TOO_MANY else None
    more = {"missing": [one.value for one in missing]}
    detail = refusal_text(missing)
    return Problem(ProblemCode(missing[0].value), detail=detail, retry_after_s=retry_after_s, more=more)


@contextlib.contextmanager
def translated(brand: str) -> Iterator[None]:
    """Problem, in the words of this brand, instead of what services raise.

    What has no meaning for who asks goes through.
    """
    try:
        yield
    except RefusedError as refusal:
        raise problem_of(refusal, brand) from None
    except NotAllowedError:
        raise Problem(ProblemCode.FORBIDDEN) from None
    except OwningError as error:
        raise Problem(PROBLEMS[error.code]) from None
    except CommandRefusedError as error:
        raise command_problem(error) from None
    except (UnknownClaimError, UnknownCommandError, UnknownDeviceError):
        raise Problem(ProblemCode.NOT_FOUND) from None
    except UnknownKeyError:
        raise Problem(
            ProblemCode.CODES_INVALID, detail=gettext("No such key announces for this device.")
        ) from None
    except ProfileError as error:
        more = {"faults": {error.field: str(error)}}
        raise Problem(ProblemCode.FIELD_INVALID, detail=str(error), more=more) from None
    except SettingsRefusedError as error:
        faults = {name: fault_text(fault) for name, fault in error.faults.items()}
        told = " ".join(faults.values())
        raise Problem(ProblemCode.FIELD_INVALID, detail=told, more={"faults": faults}) from None
    except ScheduleError:
        told = gettext("A first time from now on and within two years, in a rhythm of 30 to 366 days.")
        more = {"faults": {"first_ms": told}}
        raise Problem(ProblemCode.FIELD_INVALID, detail=told, more=more) from None
    except KeyReusedError:
        raise Problem(ProblemCode.KEY_REUSED) from None
    except KeyInUseError as error:
        raise Problem(ProblemCode.KEY_IN_USE, retry_after_s=error.after_s) from None
