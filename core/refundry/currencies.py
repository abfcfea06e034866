"""The exponent of every ISO 4217 currency that has a minor unit, withdrawn ones included.

The rule of this module: data only. An exponent is the number of decimals of the currency's unit: 2 for EUR, 0 for JPY.

Sources: the active codes are ISO 4217 list one as published on 2026-01-01 (the `iso4217` package, 1.16.20260101; a
test compares it with this table). The withdrawn codes (list three, which states no minor units) have the default
fraction digits of `java.util.Currency` in OpenJDK 17, which OpenJDK 25 repeats; both agree with list one on every
active code they know. Codes withdrawn before that table began are absent, and so are metals, funds and test codes
without a minor unit (XAU, XDR, XXX). Withdrawn codes stay permanently: an old log must still be readable.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["EXPONENTS", "WITHDRAWN"]

_ACTIVE: Final[Mapping[int, str]] = {
    0: """
        BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF
    """,
    2: """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF
        CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL
        HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU
        MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR
        SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED
        VES WST XAD XCD XCG YER ZAR ZMW ZWG
    """,
    3: """
        BHD IQD JOD KWD LYD OMR TND
    """,
    4: """
        CLF UYW
    """,
}

_WITHDRAWN: Final[Mapping[int, str]] = {
    0: """
        ADP BEF BYB BYR ESP GRD ITL LUF MGF PTE ROL TPE TRL
    """,
    2: """
        AFA ANG ATS AYM AZM BGL BGN CSD CUC CYP DEM EEK FIM FRF GHC GWP HRK IEP LTL LVL MRO MTL MZM NLG RUR SDD
        SIT SKK SLL SRG STD TMM USS VEB VEF YUM ZMK ZWD ZWL ZWN ZWR
    """,
}


def _by_code(groups: Mapping[int, str]) -> dict[str, int]:
    return {code: exponent for exponent, codes in groups.items() for code in codes.split()}


WITHDRAWN: Final[frozenset[str]] = frozenset(_by_code(_WITHDRAWN))
"""Codes that are no longer in use, such as BGN and DEM."""

EXPONENTS: Final[Mapping[str, int]] = MappingProxyType(_by_code(_WITHDRAWN) | _by_code(_ACTIVE))
"""Decimals by currency code, active and withdrawn."""
